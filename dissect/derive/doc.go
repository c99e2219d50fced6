// Package derive finds what follows from all calls of a window together: which call caused which, how much of a call's
// time was its server's own, which routes the paths are of, and the tree and critical path of a call.
package derive
