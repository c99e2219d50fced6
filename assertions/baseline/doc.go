// Package baseline says how services spoke when somebody accepted it, as text that people review, and what differs now.
//
//	traffic.Dissection ──Summarize──► Run ─┐
//	                                       ├─ New ──► Baseline ──Marshal──► .devloop/baselines/NAME.yaml
//	                             more runs ┘              │
//	                                                      └─ Compare ──► Report of findings
//
// A [Run] is what one iteration showed: edges, endpoints by route, how calls ended, latencies, headers, fields of bodies, calls per
// parent. A [Baseline] is several runs of the same code together, so that it knows what is always there, what sometimes, and
// how much latencies differ from run to run for no reason. [Compare] takes two of them: the recorded one, and what the
// present code shows. The same comparison serves the wire diff of the loop, with one run on each side, and revisions that are
// run in turns.
//
// Bodies and values are not in it: names of headers and JSON fields are, and latencies, counts and routes. They come from the
// wire, so they are untrusted text, bounded and cleaned.
package baseline
