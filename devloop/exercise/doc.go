// Package exercise drives the services in an iteration: HTTP requests and commands, step by step.
//
// The steps run in a process of their own (see [Main]), so that their packets carry the exercise's name and not the
// daemon's. Every request carries a traceparent, the header devloop-iteration and the same in baggage, so that the
// calls it causes can be told from others where the services pass one of them on.
package exercise
