package baseline

import (
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// recordedFaults are runs of the shop by the fault that was planted.
func recordedFaults(t *testing.T) map[string][]*Run {
	t.Helper()
	f, err := os.Open("eval/testdata/faults.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var runs map[string][]*Run
	if err := json.NewDecoder(z).Decode(&runs); err != nil {
		t.Fatal(err)
	}
	return runs
}

func written(t *testing.T, runs []*Run) *Baseline {
	t.Helper()
	b, err := New(Meta{Name: "shop"}, runs)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = Parse(text); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFaultsOfTheShop: a baseline of ten clean runs finds every fault that the shop can have, and in fifty draws of other clean runs
// nothing at all. The runs were recorded once, from real ones (eval -record -faults).
func TestFaultsOfTheShop(t *testing.T) {
	runs := recordedFaults(t)
	clean := runs["clean"]
	b := written(t, clean[:10])
	faults := 0
	for name, with := range runs {
		if name == "clean" {
			continue
		}
		faults++
		now, err := New(Meta{}, with)
		if err != nil {
			t.Fatal(err)
		}
		r := Compare(b, now, Options{})
		if r.Verdict != traffic.Fail {
			t.Errorf("%s: %s, %d findings", name, r.Verdict, len(r.Findings))
			continue
		}
		t.Logf("%s: %s: %s %s", name, r.Findings[0].Kind, r.Findings[0].Where, r.Findings[0].What)
	}
	if faults < 27 || len(clean) < 20 {
		t.Errorf("%d faults and %d clean runs are recorded", faults, len(clean))
	}
	for i := range 50 {
		var old, fresh []*Run
		for j, k := range rand.New(rand.NewPCG(7, uint64(i))).Perm(len(clean)) {
			if j < 10 {
				old = append(old, clean[k])
			} else if j < 12 {
				fresh = append(fresh, clean[k])
			}
		}
		now, err := New(Meta{}, fresh)
		if err != nil {
			t.Fatal(err)
		}
		if r := Compare(written(t, old), now, Options{}); r.Verdict == traffic.Fail {
			t.Errorf("clean draw %d: %s %s %s", i, r.Findings[0].Kind, r.Findings[0].Where, r.Findings[0].What)
		}
	}
}
