package daemon

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/dashboard"
)

// TestDoors: a code opens once and only for a while, and a key is good until too many newer ones came.
func TestDoors(t *testing.T) {
	var d doors
	now := time.Unix(1_800_000_000, 0)
	if _, ok := d.open("", now); ok || d.admits("") {
		t.Error("nothing opens a door")
	}
	code := d.code(now)
	key, ok := d.open(code, now.Add(codeLife))
	if !ok || !d.admits(key) || d.admits(code) {
		t.Errorf("a fresh code: %v, its key is good: %v, the code is a key: %v", ok, d.admits(key), d.admits(code))
	}
	if _, ok := d.open(code, now); ok {
		t.Error("a code opens twice")
	}
	if _, ok := d.open(d.code(now), now.Add(codeLife+time.Second)); ok {
		t.Error("an old code opens")
	}
	for i := range maxKeys {
		if _, ok := d.open(d.code(now), now.Add(time.Duration(i+1)*time.Millisecond)); !ok {
			t.Fatal("a fresh code does not open")
		}
	}
	if len(d.keys) > maxKeys || len(d.codes) > maxCodes {
		t.Errorf("%d keys and %d codes are kept", len(d.keys), len(d.codes))
	}
}

// TestWhoSeesThePage: the page needs no token and has no secret; what it exchanges a code at is closed to other origins; all else is as before.
func TestWhoSeesThePage(t *testing.T) {
	d := &doors{}
	code := d.code(time.Now())
	h := guard{token: sha256.Sum256([]byte("T")), host: "127.0.0.1", doors: d, static: dashboard.Handler()}.
		around(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	ask := func(method, path, body string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1:8898"+path, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	elsewhere := []string{"Origin", "http://elsewhere.example", "Sec-Fetch-Site", "cross-site"}
	said := `{"code": "` + code + `"}`
	for _, c := range []struct {
		what string
		got  *httptest.ResponseRecorder
		want int
	}{
		{"the page", ask("GET", dashboard.Path, ""), http.StatusOK},
		{"a link to the page", ask("GET", dashboard.Path, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), http.StatusOK},
		{"the script, for another page", ask("GET", dashboard.Path+"app.js", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), http.StatusForbidden},
		{"a code from another page", ask("POST", dashboard.SessionPath, said, elsewhere...), http.StatusForbidden},
		{"no code", ask("POST", dashboard.SessionPath, "?"), http.StatusBadRequest},
		{"a wrong code", ask("POST", dashboard.SessionPath, `{"code": "x"}`), http.StatusUnauthorized},
		{"the API without a key", ask("POST", "/v1/status", "{}"), http.StatusUnauthorized},
		{"the API with the token", ask("POST", "/v1/status", "{}", "Authorization", "Bearer T"), http.StatusTeapot},
		{"the code", ask("POST", dashboard.SessionPath, said), http.StatusOK},
		{"the code again", ask("POST", dashboard.SessionPath, said), http.StatusUnauthorized},
	} {
		if c.got.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", c.what, c.got.Code, c.want, c.got.Body)
		}
	}
	stranger := httptest.NewRequest(http.MethodGet, "http://elsewhere.example"+dashboard.Path, nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, stranger); w.Code != http.StatusForbidden {
		t.Errorf("the page under a name of somebody else: %d", w.Code)
	}
	key, ok := d.open(d.code(time.Now()), time.Now())
	if got := ask("POST", "/v1/status", "{}", "Authorization", "Bearer "+key); !ok || got.Code != http.StatusTeapot {
		t.Errorf("the API with a key: %d", got.Code)
	}
}
