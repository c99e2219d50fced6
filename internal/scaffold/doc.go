// Package scaffold writes the files that a repository needs to use devloop, by looking at what is in it, and registers
// devloop with agents. It adds; what somebody else wrote stays as it is.
package scaffold
