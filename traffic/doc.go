// Package traffic is the dictionary: the plain data that every other room speaks of.
//
// A [Packet] is what a capture source delivers. Packets of one socket pair make a [Connection]; the requests and
// responses on it are [Call]s, each spoken by a [Workload] at either end. A [Dissection] is what was found in one
// window, with an [Account] of what could not be read. A [Verdict] is what the checks say of it.
//
// The package imports only the standard library and does nothing: no I/O, no clocks, no goroutines. Every type here
// has a stable JSON form; times are Unix nanoseconds in fields ending in NS or typed int64 and documented so, and
// milliseconds with fractions in fields named latency_ms, because that is what readers of the JSON know.
package traffic
