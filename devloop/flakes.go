package devloop

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// What the ledger of flakes keeps, and calls a flake.
const (
	mostLedger = 2000 // results
	ledgerSize = 8 << 20
	flakyScore = 0.2 // of flips per chance to flip
	flakyPairs = 4   // chances that a score needs to mean anything
)

// ledgerEntry is one check, or group of one, in the ledger.
type ledgerEntry struct {
	control.Flake
	Same string          `json:"same"` // what ran last: builds and exercise
	Last traffic.Verdict `json:"last"`
}

// noteFlakes counts an iteration's verdicts: one that differs from the last one of the same builds under the same exercise flipped for no
// reason that the code gave. What a fault disturbed does not count.
func (s *Session) noteFlakes(it *traffic.Iteration) {
	if it.Failure != nil || len(it.Checks) == 0 || it.Exercise == nil || slices.ContainsFunc(it.Warnings, func(w string) bool { return strings.HasPrefix(w, "fault ") }) {
		return
	}
	file := s.ledgerFile()
	ledger, err := readLedger(file)
	if err != nil {
		s.log.Warn("the ledger of flakes begins anew", "err", err)
	}
	same := sameCode(it)
	for i := range it.Checks {
		c := &it.Checks[i]
		if c.Verdict != traffic.Pass && c.Verdict != traffic.Fail && c.Verdict != traffic.Inconclusive {
			continue
		}
		key := c.File + "\x00" + c.Name + "\x00" + c.Group
		e := ledger[key]
		if e == nil {
			if len(ledger) >= mostLedger {
				continue
			}
			e = &ledgerEntry{Flake: control.Flake{Check: c.Name, File: c.File, Group: c.Group}}
			ledger[key] = e
		}
		e.Runs++
		if e.Same == same {
			e.Chances++
			if e.Last != c.Verdict {
				e.Flips++
				e.FlippedNS, e.Flipped = time.Now().UnixNano(), fmt.Sprintf("%s to %s in %s", e.Last, c.Verdict, it.ID)
			}
		}
		e.Same, e.Last = same, c.Verdict
	}
	text, err := json.Marshal(ledger)
	if err == nil {
		err = writeFile(file, text)
	}
	if err != nil {
		s.log.Warn("the ledger of flakes was not written", "err", err)
	}
}

// sameCode names what an iteration ran.
func sameCode(it *traffic.Iteration) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", it.Exercise.Name)
	for _, service := range slices.Sorted(maps.Keys(it.Builds)) {
		fmt.Fprintf(h, "%s=%s\x00", service, it.Builds[service])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (s *Session) ledgerFile() string { return filepath.Join(s.stateDir(), "flakes.json") }

// quarantineDays is how long a quarantine that is proposed lasts.
const quarantineDays = 14

// quarantine is the line that keeps a flaky check from gating for a while. Somebody has to write it: nothing does it by itself.
func quarantine(f *control.Flake, owner string, now time.Time) string {
	reason := fmt.Sprintf("flipped %d times in %d runs of the same code", f.Flips, f.Chances)
	if f.Flipped != "" {
		reason += ", last " + f.Flipped
	}
	return fmt.Sprintf("to keep it from gating for %d days, write below its name in %s:\n    quarantine: {owner: %q, reason: %q, until: %s}",
		quarantineDays, f.File, owner, reason, now.AddDate(0, 0, quarantineDays).Format(time.DateOnly))
}

// author is who git says works here.
func (s *Session) author() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "-C", s.workspace, "config", "user.name").Output()
	if name := strings.Join(strings.Fields(string(out)), " "); err == nil && name != "" && len(name) <= 100 {
		return name
	}
	return "WHO"
}

// readLedger reads the ledger; what cannot be read is as if it were not there.
func readLedger(file string) (map[string]*ledgerEntry, error) {
	none := map[string]*ledgerEntry{}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	case err != nil:
		return none, err
	case info.Size() > ledgerSize:
		return none, fmt.Errorf("%s is larger than %d MiB", file, ledgerSize>>20)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return none, err
	}
	ledger := map[string]*ledgerEntry{}
	if err := json.Unmarshal(text, &ledger); err != nil {
		return none, fmt.Errorf("read %s: %w", file, err)
	}
	maps.DeleteFunc(ledger, func(_ string, e *ledgerEntry) bool { return e == nil })
	return ledger, nil
}

// Flakes lists how often each check's verdict flipped while the code stayed as it was, most often first.
func (s *Session) Flakes(struct{}) (*control.FlakesAnswer, error) {
	ledger, err := readLedger(s.ledgerFile())
	if err != nil {
		return nil, &control.Error{What: "the ledger of flakes cannot be read: " + err.Error(), Hint: "remove " + s.ledgerFile() + ": it begins anew", Exit: control.ExitEnvironment}
	}
	a, owner := &control.FlakesAnswer{Checks: []control.Flake{}}, sync.OnceValue(s.author)
	for _, e := range ledger {
		f := e.Flake
		if f.Chances > 0 {
			f.Score = float64(f.Flips) / float64(f.Chances)
		}
		if f.Chances >= flakyPairs && f.Score >= flakyScore {
			f.Flaky = true
			if f.File != "" {
				f.Next = quarantine(&f, owner(), time.Now())
			}
		}
		a.Checks = append(a.Checks, f)
	}
	slices.SortFunc(a.Checks, func(a, b control.Flake) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Flips, a.Flips), cmp.Compare(a.File, b.File), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Group, b.Group))
	})
	return a, nil
}
