// Package devloop is the loop: save, build, deploy, exercise, seal, dissect, judge.
//
// A [Session] is one workspace attached to one environment. Its one goroutine decides what runs next; an iteration
// runs beside it, one at a time, through the named steps of iterate. The rule for a change during an iteration: while
// it builds or deploys it is cancelled and begun again with all changes; from the exercise on it finishes, because
// its verdict speaks of the revision that was serving, and one more iteration follows.
package devloop
