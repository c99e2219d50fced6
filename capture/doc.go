// Package capture is where packets come from: sources that listen to the sockets of the services, and the recorder
// that keeps what they heard in a ring of pcapng segments.
//
// A [Source] tells the packets of each [Target] apart by its cgroup (capture/tap) or network namespace
// (capture/afpacket), and counts what it lost, by flow where it can. A [Recorder] writes the packets down with one
// interface block per target. Segments end at window bounds, so that a snapshot is a handful of hard links.
// capture/pcapfile reads them back; capture/probe says which source works on this machine.
package capture
