// Package query answers questions about traffic: calls, statistics, flows, maps, comparisons and reports over one set of
// calls and connections, a [Database]: what is captured now, or one dissection of a snapshot.
//
// Each question is one function from a request to an answer. The types of both are the API: the daemon serves them by
// name, MCP tools and REST routes translate them, and none of these computes anything. Names and fields that Kubeshark has
// are the same here; times of its fields are Unix milliseconds, those that end in _ns nanoseconds.
package query
