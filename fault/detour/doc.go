// Package detour gets in between the sockets of a cgroup and some destinations, with eBPF: it turns connections to others as
// they are made, while the sockets believe what they asked for, or it loses packets. The programs are held by their links:
// when the process ends, however it ends, the kernel takes them away.
//
// IPv4 only, also where a program uses it through an IPv6 socket. Sockets that were connected before stay connected.
package detour
