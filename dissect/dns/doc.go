// Package dns reads DNS (RFC 1035) over UDP and TCP: every query packet is a call, paired with its response by message
// ID and question on the same socket pair. Multicast DNS is left alone: its answers come from other addresses.
package dns
