// Package replay sends recorded requests again, and says what is answered otherwise.
//
// [Make] turns recorded calls into a plan: requests with the time at which each is due. What cannot be sent again is counted with
// its reason: a secret that rows do not hold, a body that was cut, a method that is not idempotent. [Send] sends a plan from
// within the services' network, in a process of its own. [Compare] holds what came against what was recorded, and leaves out
// what differed between recorded answers to one and the same request: that is noise.
package replay
