package devloop

import "testing"

// TestSpansFind: what an earlier daemon recorded is not fetched again, and what lies between is.
func TestSpansFind(t *testing.T) {
	t.Parallel()
	s := spans{{10, 20}, {30, 30}}
	for _, c := range []struct {
		at     int64
		before int
		within bool
	}{{9, 0, false}, {10, 1, true}, {20, 1, true}, {21, 1, false}, {29, 1, false}, {30, 2, true}, {31, 2, false}} {
		if before, within := s.find(c.at); before != c.before || within != c.within {
			t.Errorf("%d: %d before, within %v", c.at, before, within)
		}
	}
	if before, within := spans(nil).find(5); before != 0 || within {
		t.Error("there are none")
	}
}

func TestNotesOfWindows(t *testing.T) {
	t.Parallel()
	meta, err := noted([]string{"a", "b"})
	if err != nil || noteOf(meta) != "a; b" {
		t.Errorf("%s, %v", meta, err)
	}
	if meta, err := noted(nil); meta != nil || err != nil || noteOf(meta) != "" {
		t.Errorf("%s, %v", meta, err)
	}
	if noteOf([]byte(`[1]`)) != "" {
		t.Error("somebody else's words are a note")
	}
}
