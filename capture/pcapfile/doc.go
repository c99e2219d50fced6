// Package pcapfile reads pcap and pcapng capture files, plain or compressed, and writes pcapng.
//
// The [Reader] is built for speed and for files that still grow: it hands out views into its own buffer, allocates
// nothing per packet, and takes up again where it met the end. The [Writer] writes what devloop records: one interface
// block per workload with a description that the Reader understands back, direction, socket and process on every
// packet, names, and losses.
//
// Formats: pcap as in draft-ietf-opsawg-pcap (microsecond and nanosecond, both byte orders, and the "modified" variant
// of old Linux patches), pcapng as in draft-ietf-opsawg-pcapng.
package pcapfile
