// Package stat is the statistics behind verdicts: intervals for one sample, comparisons of two, and what many comparisons at
// once ask for. It knows nothing of traffic. What rests on a known library (github.com/aclements/go-moremath) is named where it
// is used; docs/statistics.md says how well each interval and test keeps its promise, as measured by `make eval`.
package stat
