// Package fault is what can be done to the traffic of one edge while its services know nothing of it: the kinds of faults with
// their bounds, and the [Relay] that does most of them.
//
// A relay stands between a client and a server, and passes on what they say. How a client's connections come to it is its
// environment's business: network namespaces of one machine are routed over it (localenv), sockets of a cluster's pods are
// turned to it as they connect (fault/detour).
package fault
