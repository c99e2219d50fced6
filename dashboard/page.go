package dashboard

import (
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
)

//go:generate sh app/generate.sh

// The page, as app/generate.sh makes it of the sources in app.
//
//go:embed dist/app.js
var script []byte

//go:embed dist/app.css
var styles []byte

// Path is where the page is served. There is nothing secret in what lies below it.
const Path = "/dashboard/"

// SessionPath takes the one-time code of an address and answers with a key.
const SessionPath = Path + "session"

// page is all HTML that there is: the script makes the rest, and only ever as text.
const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>devloop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="app.css">
<div id="app"></div>
<script nonce="%s" src="app.js"></script>
</html>
`

// policy lets the page run its one script, wear its one style sheet and speak to the daemon that served it: nothing else, and nothing may frame
// it. Trusted types make writing HTML from a text an error.
const policy = "default-src 'none'; script-src 'nonce-%s'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves the page below [Path].
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"{$}", func(w http.ResponseWriter, _ *http.Request) {
		nonce := rand.Text()
		h := w.Header()
		protect(h)
		h.Set("Content-Security-Policy", fmt.Sprintf(policy, nonce))
		h.Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, page, nonce)
	})
	mux.Handle("GET "+Path+"app.js", asset("text/javascript; charset=utf-8", script))
	mux.Handle("GET "+Path+"app.css", asset("text/css; charset=utf-8", styles))
	return mux
}

func protect(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// asset is a file that a browser keeps until another build serves another one.
func asset(kind string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		protect(h)
		h.Set("Content-Type", kind)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(content) // a client that went away
	})
}
