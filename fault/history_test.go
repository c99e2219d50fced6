package fault

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h History
		begin := time.Now()
		var all []Fault
		for range KeepEnded + 2 {
			var f Fault
			h.Begin(&f, time.Minute)
			if !f.Until.Equal(f.Began.Add(time.Minute)) {
				t.Errorf("%s lasts until %s", f.ID, f.Until)
			}
			all = append(all, f)
			time.Sleep(time.Second)
		}
		if err := h.Absent("f2"); err == nil {
			t.Error("f2 has not ended")
		}
		there := all[len(all)-1]
		ended := h.End([]Fault{all[1], all[0]})
		if ended[0].ID != "f1" || ended[0].Ended.IsZero() {
			t.Errorf("ended %v", ended)
		}
		time.Sleep(time.Second)
		h.End(all[2 : len(all)-1])
		if err := h.Absent("f2"); err != nil {
			t.Error(err)
		}
		if err := h.Absent("f1"); err == nil {
			t.Error("more are kept than the bound")
		}
		if got := h.Since(begin, []Fault{there}); len(got) != KeepEnded+1 || got[0].ID != "f2" || got[KeepEnded].ID != there.ID {
			t.Errorf("since the beginning: %v", got)
		}
		if got := h.Since(time.Now(), nil); len(got) != KeepEnded-1 || got[0].ID != "f3" {
			t.Errorf("since the second end: %d, from %v", len(got), got[0])
		}
	})
}
