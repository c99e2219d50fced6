// Package agent captures on the nodes of a cluster: it is the client of devloop-agent, and the types of its API.
//
// [Dial] gives a [capture.Source] for one node. It follows the agent's ring of segments from a [Position], a segment and a
// place in it, which it alone keeps: when the connection is cut it asks for what comes after the last whole block that it
// has, so nothing is lost and nothing comes twice. What went missing all the same is counted: packets that the node's
// kernel had no room for, segments that left the ring before they were read, and the time in which an agent that was
// restarted did not run. [Merge] makes one source of those of all nodes.
//
// What the agent answers are bytes from elsewhere: blocks, numbers of interfaces and answers are bounded.
package agent
