package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/store"
)

// faultRecording holds runs of the shop by the fault that was planted; those of "clean" had none. A test of package baseline reads it.
const faultRecording = "assertions/baseline/eval/testdata/faults.json.gz"

// recordFaults summarises the snapshots that a list names.
func recordFaults(dir, list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	runs := map[string][]*baseline.Run{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 2 {
			return fmt.Errorf("%s: %q is not FAULT ITERATION", list, line)
		}
		sn, err := st.Snapshot(words[1])
		if err != nil {
			return err
		}
		d, err := sn.ReadDissection()
		sn.Close()
		if err != nil {
			return err
		}
		runs[words[0]] = append(runs[words[0]], rounded(baseline.Summarize(words[1], d)))
	}
	fmt.Printf("%d faults, %d clean runs\n", len(runs)-1, len(runs["clean"]))
	return compressed(faultRecording, runs)
}

// faultsFound says which faults of the shop a baseline finds by itself, and how often it finds something in the clean shop.
func faultsFound(out *strings.Builder, rounds int) (broken []string) {
	var runs map[string][]*baseline.Run
	if err := decompressed(faultRecording, &runs); err != nil {
		return []string{err.Error()}
	}
	clean := runs["clean"]
	old := asText(together(clean[:10]))
	fmt.Fprintf(out, "### Faults of the shop\n\nThe baseline has 10 clean runs, the new code two runs with a fault of examples/shop/faults.md planted; no check file is read. The gravest finding of each:\n\n| fault | finding |\n|---|---|\n")
	found, names := 0, slices.Sorted(maps.Keys(runs))
	for _, name := range names {
		if name == "clean" {
			continue
		}
		r := baseline.Compare(old, together(runs[name]), baseline.Options{})
		if failed(r) {
			found++
			fmt.Fprintf(out, "| `%s` | %s: %s |\n", name, r.Findings[0].Kind, strings.ReplaceAll(r.Findings[0].Where, "|", "\\|"))
		} else {
			fmt.Fprintf(out, "| `%s` | none: %s |\n", name, r.Verdict)
			broken = append(broken, "the fault "+name+" is not found")
		}
	}
	wrong := 0
	for i := range rounds {
		order := rand.New(rand.NewPCG(11, uint64(i))).Perm(len(clean))
		pick := func(some []int) *baseline.Baseline {
			var list []*baseline.Run
			for _, j := range some {
				list = append(list, clean[j])
			}
			return together(list)
		}
		if failed(baseline.Compare(asText(pick(order[:10])), pick(order[10:12]), baseline.Options{})) {
			wrong++
		}
	}
	low, high := stat.Proportion(wrong, rounds, 0.975)
	fmt.Fprintf(out, "\n%d of %d faults are found. In %d draws of 10 and 2 of the %d clean runs something was found in %d: %s (%s to %s).\n\n", found, len(names)-1, rounds, len(clean), wrong, percent(float64(wrong)/float64(rounds)), percent(low), percent(high))
	if wrong*200 > allowed*rounds {
		broken = append(broken, fmt.Sprintf("%d of %d comparisons of the clean shop failed", wrong, rounds))
	}
	return broken
}
