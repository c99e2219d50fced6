package redact

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// TestMemo asks about the same calls again and again, so that what is plain is remembered: nothing else may be believed plain.
func TestMemo(t *testing.T) {
	t.Parallel()
	r := New([]byte("key"), Options{})
	const card = "4111 1111 1111 1111"
	made := func(body string) *traffic.Call {
		return &traffic.Call{Protocol: traffic.ProtoHTTP, Path: "/api/orders/12", HTTP: &traffic.HTTP{
			Query:          "page=3&password=" + body[:3],
			RequestHeaders: []traffic.Header{{Name: "X-Request-Id", Value: card}, {Name: "X-Note", Value: card}, {Name: "X-Plain", Value: "application/json"}},
			ResponseBody:   []byte(body), RequestBody: []byte(`{"status":"pending"}`),
		}}
	}
	for i := range 5 {
		plain, secret := made(`{"id":1,"status":"pending"}`), made(`{"id":1,"password":"hunter22"}`)
		r.Call(plain)
		r.Call(secret)
		h := secret.HTTP
		switch {
		case string(plain.HTTP.ResponseBody) != `{"id":1,"status":"pending"}`:
			t.Errorf("round %d: a plain body became %s", i, plain.HTTP.ResponseBody)
		case strings.Contains(string(h.ResponseBody), "hunter22"), strings.Contains(h.Query, `password={"i`):
			t.Errorf("round %d: a secret stayed: %s %s", i, h.ResponseBody, h.Query)
		case h.RequestHeaders[0].Value != card, h.RequestHeaders[1].Value == card, h.RequestHeaders[2].Value != "application/json":
			t.Errorf("round %d: headers are %v: an id is none that is redacted, a note is", i, h.RequestHeaders)
		}
	}
}

// TestSame: bodies that come often come back at one address, and say what they said.
func TestSame(t *testing.T) {
	t.Parallel()
	r := New([]byte("key"), Options{})
	at := map[string]*byte{}
	for round := range 6 {
		for i := range 50 {
			text := strings.Repeat(fmt.Sprintf(`{"n":%d},`, i), 30)
			if i%5 == 0 {
				text += `{"password":"hunter22"}`
			}
			c := &traffic.Call{Protocol: traffic.ProtoHTTP, HTTP: &traffic.HTTP{ResponseBody: []byte(text)}}
			r.Call(c)
			b := c.HTTP.ResponseBody
			switch secret := i%5 == 0; {
			case !secret && string(b) != text:
				t.Fatalf("%q came back as %q", text, b)
			case secret != strings.Contains(string(b), "[redacted"):
				t.Fatalf("%q was told as %q", text, b)
			case !secret && round > 2 && at[text] != &b[0]:
				t.Errorf("%.20q came at another address in round %d", text, round)
			}
			at[text] = &b[0]
		}
	}
}

// TestNear: bodies of which the few bytes that are sampled are the same are told apart.
func TestNear(t *testing.T) {
	t.Parallel()
	r := New([]byte("key"), Options{})
	made := func(note string) []byte {
		return []byte(strings.Repeat("x", 300) + note + strings.Repeat(" ", 20) + strings.Repeat("y", 2000))
	}
	plain, secret := made(` "note": "hunter22"`), made(` "pass": "hunter22"`)
	if sample(plain) != sample(secret) {
		t.Fatal("the samples are to be the same")
	}
	for i := range 5 {
		for _, body := range [][]byte{plain, secret} {
			c := &traffic.Call{Protocol: traffic.ProtoHTTP, HTTP: &traffic.HTTP{RequestBody: slices.Clone(body)}}
			r.Call(c)
			if hidden := !strings.Contains(string(c.HTTP.RequestBody), "hunter22"); hidden != (&body[0] == &secret[0]) {
				t.Errorf("round %d: %.340s became %.340s", i, body, c.HTTP.RequestBody)
			}
		}
	}
}

// TestHexadecimal: what is passed over as an id is made of those characters alone, and nothing would be found in it.
func TestHexadecimal(t *testing.T) {
	t.Parallel()
	const set = "0123456789abcdef-"
	for at := range 24 {
		for c := range 256 {
			b := []byte("00-bc0649de7da1d548edd0c")
			b[at] = byte(c)
			if got, want := hexadecimal(string(b)), strings.ContainsRune(set, rune(c)); got != want {
				t.Errorf("%q: %v", b, got)
			}
		}
	}
	for c := range prefixes {
		for _, p := range prefixes[c] {
			if strings.Trim(p.prefix, set) == "" {
				t.Errorf("a token may begin with %s, which looks like an id", p.prefix)
			}
		}
	}
	r := New([]byte("key"), Options{})
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, 9+rnd.IntN(100))
		for i := range b {
			b[i] = set[rnd.IntN(len(set))]
		}
		if found := r.find(nil, b, noDigits|noKeys); len(found) > 0 || !hexadecimal(string(b)) {
			t.Fatalf("%s: %v", b, found)
		}
	}
}

// TestTails makes sure that no key is told away by the few letters that are looked at.
func TestTails(t *testing.T) {
	t.Parallel()
	r := New([]byte("key"), Options{Keys: []string{"zebra", "Q-U-X"}})
	for key, kind := range r.keys {
		if got := r.keyKind([]byte(key)); got != kind {
			t.Errorf("%s is %q, want %q", key, got, kind)
		}
	}
	for _, s := range keySuffixes {
		if key := "x_" + s.suffix; r.keyKind([]byte(key)) != s.kind {
			t.Errorf("%s is %q, want %q", key, r.keyKind([]byte(key)), s.kind)
		}
	}
}
