// Package assertions judges a window of traffic by checks: what is promised, in *.netcheck.yaml files, and what every system
// promises, in built-in checks.
//
// A check selects calls or connections with a filter (on) and states what must hold of them (expect): CEL over aggregates.
// [Load] lifts the aggregates out of the parsed expression; each one's argument is compiled in the environment of rows and
// evaluated per row, and a variable takes its place. [Suite.Check] computes every aggregate first, so that no error hides
// behind an unknown, and then evaluates what is left.
//
// An aggregate yields an estimate: a value with the interval in which it lies. Its comparison is true, false, or CEL's
// unknown where the interval straddles the bound, and an unknown expectation is inconclusive. Facts of the window (count,
// none, all, any, min, max, sum, distinct, reuse_ratio, amplification) have intervals of one point. Quantiles have order
// statistics around them and shares Clopper and Pearson's interval, so neither assumes a distribution.
//
//	rows ──column──► samples ──aggregate──► estimate ─┐
//	                                                  ├─ comparison ─► true · false · unknown ─► pass · fail · inconclusive
//	                             duration("120ms") ───┘
//
// # Four rules
//
// (1) A response field of a call that has no answer is unknown in expect, and an open call is never a timeout. The unknown
// travels: none(status_code >= 500) over a call that was never answered is neither kept nor broken, unless another call
// breaks it. So are the request fields of a call of which only the response was captured: all(tlsx_sni == "x") over half a
// handshake is neither. Of latency the least is known all the same: a call that waited five seconds in vain took at least
// five, so max(latency) < duration("1s") fails on it. The filter on uses KFL's defaults and never says unknown.
//
// (2) Loss counts per check. What the capture lacks is sought over the connections that could match on ([filter.Filter.Could]):
// packets that the source lost, by flow and by interface, bytes that are missing or were not decoded, responses without their
// requests, and encrypted connections that could have carried the asked protocol. One lost packet can hide any number of
// calls. So where something is missing, every interval opens towards what more rows could do: a violation that was found
// still fails, something that was found to exist still passes, and all else is inconclusive. Checks over other connections
// do not notice. A capture file that is cut off could have held anything.
//
// (3) A term over a field that rows may lack (retry.*, tls.*) leaves out the rows that lack it. When all of them are known to
// lack it the term holds, whatever its comparison, and the result lists it as vacuous. Under an odd number of negations it
// is false, so that the negation holds. Over any other field nothing follows from rows that lack it: on selects the wrong
// ones, and the check is inconclusive. any, count, ratio and distinct are never vacuous: none is a number they can say.
//
// (4) A selection without rows is nodata, and that is no pass. allow_empty: true makes it a pass over complete capture, and
// inconclusive where something is missing.
//
// Order functions that wait for something (before, then, never_after) are inconclusive when it never came, and when the
// window ended too early to tell.
//
// # What is left out
//
// Calls that begin outside the window, and background rows (probes) unless on mentions background.
//
// The same input gives the same results, byte for byte: no clock is read, and nothing depends on the order of a map.
package assertions
