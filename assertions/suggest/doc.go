// Package suggest drafts checks from observed traffic, in the language of check files, for people to review.
//
// A drafter looks at one kind of promise: who speaks to whom, which statuses, which headers, how many calls for each request,
// how fast, how often connections are reused. What it drafts is tried before anybody sees it. It has to hold in every run that
// was observed; and it has to fail where its fault is planted in a copy of the newest run's rows: answers that turn into 500,
// calls made one by one, retries without a pause, an edge that was never there, a lost header, connections for each call. A
// draft that no fault breaks says nothing, and is not offered.
//
//	runs ──gather──► places ──drafters──► drafts ──merged over places──► held in each run? ──► caught when planted? ──► Answer
//
// Nothing is accepted by itself: the answer is YAML to be read, cut and committed. The same runs give the same answer.
package suggest
