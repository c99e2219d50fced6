package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"sync"
)

// Options add to what redaction hides by itself.
type Options struct {
	Headers []string // names of headers whose values are secret
	Keys    []string // names of JSON keys, form and query parameters whose values are secret
}

// Redactor finds and replaces secrets. It is safe for concurrent use; make it with [New].
type Redactor struct {
	keys    map[string]string // normalised name → kind
	headers map[string]bool   // lower-case names that Options added
	macs    sync.Pool
	memo    *memo
	tails   *tails
}

// New returns a redactor whose hashes are keyed with key.
func New(key []byte, o Options) *Redactor {
	r := &Redactor{keys: exactKeys, headers: map[string]bool{}, memo: newMemo()}
	if len(o.Keys) > 0 {
		r.keys = make(map[string]string, len(exactKeys)+len(o.Keys))
		for k, v := range exactKeys {
			r.keys[k] = v
		}
		for _, k := range o.Keys {
			var buf [maxKey]byte
			if n := normalize(&buf, []byte(k)); len(n) > 0 {
				r.keys[string(n)] = "secret"
			}
		}
	}
	r.tails = newTails(r.keys)
	for _, h := range o.Headers {
		r.headers[lower(h)] = true
	}
	own := append([]byte(nil), key...)
	r.macs.New = func() any { return hmac.New(sha256.New, own) }
	return r
}

// Hash is the keyed hash that stands for a value.
func (r *Redactor) Hash(value []byte) string {
	mac := r.macs.Get().(hash.Hash)
	defer r.macs.Put(mac)
	mac.Reset()
	mac.Write(value)
	var sum [sha256.Size]byte
	return hex.EncodeToString(mac.Sum(sum[:0])[:4])
}

// Text returns s with its secrets replaced: for log tails, command output and other text that no call carried.
func (r *Redactor) Text(s string) string {
	b := []byte(s)
	spans := r.find(nil, b, 0)
	if len(spans) == 0 {
		return s
	}
	return string(r.replace(b, spans, nil))
}

// Personal reports whether secrets of a kind identify a person or an account rather than open a door: card, account
// and id numbers. A check that follows credentials leaves them out.
func Personal(kind string) bool {
	switch kind {
	case "card", "iban", "account", "ssn", "id_number":
		return true
	}
	return false
}

// replace rewrites b with a marker in place of each span and tells found of each.
func (r *Redactor) replace(b []byte, spans []span, found func(s *span, hash string)) []byte {
	out := make([]byte, 0, len(b)+32*len(spans))
	at := 0
	for i := range spans {
		s := &spans[i]
		value := s.bare(b)
		h := r.Hash(value)
		out = append(out, b[at:s.from]...)
		if s.quote {
			out = append(out, '"')
		}
		out = append(out, "[redacted "...)
		out = append(out, s.kind...)
		out = append(out, ' ')
		out = strconv.AppendInt(out, int64(len(value)), 10)
		out = append(out, ' ')
		out = append(out, h...)
		out = append(out, ']')
		if s.quote {
			out = append(out, '"')
		}
		at = s.to
		if found != nil {
			found(s, h)
		}
	}
	return append(out, b[at:]...)
}

func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
