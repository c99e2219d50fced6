//go:build !linux

package nodeagent

func usage() (rss int64, cpu float64) { return 0, 0 }

func kernel() string { return "" }
