package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/dashboard"
	"github.com/devloop-io/devloop/internal/control"
)

const (
	codeLife = 2 * time.Minute // from the address that was printed to the page that it opened
	maxCodes = 64              // that wait to be used
	maxKeys  = 256             // pages that may ask; the oldest has to be opened again
	maxCode  = 1 << 10         // bytes of a request with a code
)

// doors let pages of the dashboard in. An address has a code that opens once; the page gives it for a key, which is worth what the token
// is and lives as long as its tab. So the token is in no address, no history and no log. The zero value is ready.
type doors struct {
	mu    sync.Mutex
	codes map[[sha256.Size]byte]time.Time // until when
	keys  map[[sha256.Size]byte]time.Time // since when
}

// code makes one.
func (d *doors) code(now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c, until := range d.codes {
		if now.After(until) {
			delete(d.codes, c)
		}
	}
	if len(d.codes) >= maxCodes {
		clear(d.codes) // somebody asks for addresses and opens none
	}
	if d.codes == nil {
		d.codes, d.keys = map[[sha256.Size]byte]time.Time{}, map[[sha256.Size]byte]time.Time{}
	}
	text := rand.Text()
	d.codes[sha256.Sum256([]byte(text))] = now.Add(codeLife)
	return text
}

// open exchanges a code for a key; it is of no use a second time.
func (d *doors) open(code string, now time.Time) (key string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := sha256.Sum256([]byte(code))
	until, ok := d.codes[sum]
	delete(d.codes, sum)
	if !ok || now.After(until) {
		return "", false
	}
	if len(d.keys) >= maxKeys {
		var oldest [sha256.Size]byte
		since := now
		for k, t := range d.keys {
			if !t.After(since) {
				oldest, since = k, t
			}
		}
		delete(d.keys, oldest)
	}
	key = rand.Text()
	d.keys[sha256.Sum256([]byte(key))] = now
	return key, true
}

// admits says whether a key is one of ours. Its digest is looked up, so that how long it takes tells nothing about the keys.
func (d *doors) admits(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.keys[sha256.Sum256([]byte(key))]
	return ok
}

// openDashboard listens, and makes an address that opens the dashboard once.
func (s *server) openDashboard(ctx context.Context, _ none) (*control.DashboardOpened, error) {
	l, err := s.listen(ctx, control.ListenRequest{})
	if err != nil {
		return nil, err
	}
	return &control.DashboardOpened{URL: l.URL + dashboard.Path + "#code=" + s.doors.code(time.Now()), Seconds: int(codeLife / time.Second)}, nil
}

// page serves what of the dashboard needs no token: the page itself, and the exchange of a code for a key. It reports whether it did.
func (g guard) page(w http.ResponseWriter, r *http.Request, foreign bool) bool {
	switch {
	case g.doors == nil || !strings.HasPrefix(r.URL.Path, dashboard.Path):
		return false
	case r.URL.Path == dashboard.SessionPath && r.Method == http.MethodPost && !foreign:
		g.exchange(w, r)
	case r.Method == http.MethodGet && (!foreign || r.Header.Get("Sec-Fetch-Mode") == "navigate"): // somebody followed a link
		g.static.ServeHTTP(w, r)
	default:
		return false
	}
	return true
}

func (g guard) exchange(w http.ResponseWriter, r *http.Request) {
	var said struct {
		Code string `json:"code"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCode))
	if err = errors.Join(err, json.Unmarshal(body, &said)); err != nil {
		refuse(w, http.StatusBadRequest, control.Usagef(`{"code": "…"}`, "the request is no code"))
		return
	}
	key, ok := g.doors.open(said.Code, time.Now())
	if !ok {
		refuse(w, http.StatusUnauthorized, &control.Error{What: "this address has been opened before, or is too old",
			Hint: "devloop dashboard opens the page anew", Exit: control.ExitUsage})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"key": key})
}
