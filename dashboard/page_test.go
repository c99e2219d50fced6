package dashboard

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// TestPage: the page names its one script by a nonce that its policy has and no other page had.
func TestPage(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path, nil))
		nonce := regexp.MustCompile(`script nonce="(\w+)"`).FindStringSubmatch(w.Body.String())
		if w.Code != http.StatusOK || nonce == nil {
			t.Fatalf("%d: no script with a nonce in\n%s", w.Code, w.Body)
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'nonce-"+nonce[1]+"'") || strings.Contains(policy, "unsafe") || seen[nonce[1]] {
			t.Errorf("nonce %s, which was there before: %v, and the policy %s", nonce[1], seen[nonce[1]], policy)
		}
		seen[nonce[1]] = true
	}
}

// TestAssets: script and styles come whole, come again only when they changed, and are small.
func TestAssets(t *testing.T) {
	const most = 150_000 // bytes, packed
	packed := 0
	for name, content := range map[string][]byte{"app.js": script, "app.css": styles} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path+name, nil))
		if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), content) || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %d of %d bytes, %v", name, w.Code, w.Body.Len(), len(content), w.Header())
		}
		again := httptest.NewRequest(http.MethodGet, Path+name, nil)
		again.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if Handler().ServeHTTP(w, again); w.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", name, w.Code)
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(z, bytes.NewReader(content)); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		packed += b.Len()
	}
	if packed < 10_000 || packed > most {
		t.Errorf("script and styles have %d bytes packed, want at most %d", packed, most)
	}
}
