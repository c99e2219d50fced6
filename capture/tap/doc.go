// Package tap captures packets at the sockets of a cgroup, with eBPF (bpf/tap.bpf.c).
//
// Two cgroup_skb programs see every packet that a socket of the cgroup, or of one below it, sends or receives, and put
// it into a ring buffer together with the time, the cgroup, the socket's cookie and the process that made the socket.
// So each packet carries the name of its workload from the first SYN on, whatever the addresses are, and nothing else
// on the machine is looked at. Data begins with the IP header, and large sends show as one packet, as the stack handles
// them.
//
// What is sent is recorded whole. What is received is recorded whole too, except payload that the sender's record is
// known to have: when the very SYN or SYN-ACK of the peer was recorded at its sender, later segments of it are recorded
// at the receiver with their headers only. This needs no list of addresses and holds behind NAT, where it merely
// records twice.
//
// [Choices], when the tap is opened with some, say by cgroup and port what is recorded at all, and change while it runs.
// They are looked at in the kernel: a stream of captured packets that leaves the machine is not captured again.
//
// Packets for which the ring had no room are counted by cgroup and flow. The oldest kernel that has everything is 5.15.
package tap
