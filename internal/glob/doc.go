// Package glob matches slash-separated paths with the patterns of devloop.yaml: *, ?, [a-z], {a,b} within one element
// and ** over any number of elements.
package glob
