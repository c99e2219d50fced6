package fault

import (
	"math"
	"strings"
	"testing"
	"time"
)

// What is out of bounds is refused before anything happens to traffic; a fault without a rate is for all of it.
func TestCheck(t *testing.T) {
	for name, x := range map[string]struct {
		fault Fault
		lasts time.Duration
		want  string
	}{
		"refuse":            {Fault{Kind: Refuse}, MaxTime, ""},
		"half of the calls": {Fault{Kind: Status, Status: 503, Rate: 0.5}, time.Minute, ""},
		"the longest delay": {Fault{Kind: Latency, Delay: MaxDelay}, time.Minute, ""},
		"no kind":           {Fault{}, time.Minute, "the kinds are"},
		"below nothing":     {Fault{Kind: Drop, Rate: -0.1}, time.Minute, "rate -0.1"},
		"more than all":     {Fault{Kind: Drop, Rate: 1.1}, time.Minute, "rate 1.1"},
		"no number":         {Fault{Kind: Drop, Rate: math.NaN()}, time.Minute, "rate NaN"},
		"no time":           {Fault{Kind: Drop}, 0, "at most 1h0m0s, not 0s"},
		"before it began":   {Fault{Kind: Drop}, -time.Second, "not -1s"},
		"for too long":      {Fault{Kind: Drop}, MaxTime + 1, "at most 1h0m0s"},
		"no delay":          {Fault{Kind: Latency}, time.Minute, "delay 0s"},
		"too long a delay":  {Fault{Kind: Latency, Delay: MaxDelay + 1}, time.Minute, "at most 30s"},
		"no status":         {Fault{Kind: Status}, time.Minute, "status 0"},
		"a status to come":  {Fault{Kind: Status, Status: 199}, time.Minute, "status 199"},
		"too large":         {Fault{Kind: Status, Status: 600}, time.Minute, "status 600"},
	} {
		f := x.fault
		err := f.Check(x.lasts)
		if err == nil != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if want := x.fault.Rate; err == nil && f.Rate != want && (want != 0 || f.Rate != 1) {
			t.Errorf("%s: rate %g", name, f.Rate)
		}
	}
}
