//go:build !linux

// Command devloop-supervise runs in Linux containers only.
package main

func main() { panic("devloop-supervise runs in Linux containers only") }
