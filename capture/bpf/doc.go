// Package bpf reads capture filters as tcpdump writes them (pcap-filter(7)), and matches packets with them.
//
// It is the part of that language that speaks of IP: host, net, port, portrange and proto with src, dst and protocols;
// lengths; tests of single header fields, such as tcp[tcpflags] & tcp-syn != 0; and, or, not and parentheses, where and and
// or have the same precedence, as there. An address without a word before it takes the words of the one before: host
// 10.0.0.1 or 10.0.0.2. Names of hosts are not looked up, and there is nothing of link layers, VLANs or tunnels: packets of
// snapshots begin with IP. Filters run on the bytes of the packet in plain Go; nothing is loaded into a kernel.
package bpf
