// Package afpacket captures packets with AF_PACKET sockets, one in the network namespace of each target. It is what is
// left where the kernel refuses the eBPF tap.
//
// A namespace is all that tells workloads apart here: there are no socket cookies and no processes, what is not in a
// namespace of its own cannot be told from its neighbours, and losses are known by namespace only, not by flow. Data
// begins with the IP header, as with the tap (cooked sockets). The ring is TPACKET_V3, read in place; our own two
// hundred lines rather than gopacket's, which do not hand out a packet's direction.
package afpacket
