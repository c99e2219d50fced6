// Package startheap lets the heap of a program that imports it grow to 20 MB before it is collected for the first time; from then on
// the collector works as always. A program whose packages leave 3 MB when they are ready is otherwise collected three times until it
// does something, and once or twice in each question: a quarter of the time of a command that is done after 30 ms. GOGC, if it is set,
// stands. The Go compiler does the same.
package startheap
