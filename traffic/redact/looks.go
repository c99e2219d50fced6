package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
)

// token recognises a secret that begins at b[i], which begins a word, by its looks alone.
func token(b []byte, i, flags int) (span, bool) {
	if len(b)-i < 9 {
		return span{}, false
	}
	c := b[i]
	switch {
	case isDigit(c):
		if flags&noDigits != 0 {
			return span{}, false
		}
		return number(b, i)
	case c >= 'A' && c <= 'Z':
		if flags&noDigits == 0 {
			if end := iban(b, i); end > 0 {
				return span{from: i, to: end, kind: "iban"}, true
			}
			if end := codiceFiscale(b, i); end > 0 {
				return span{from: i, to: end, kind: "id_number"}, true
			}
		}
	}
	switch c {
	case 'e':
		if end := jwt(b, i); end > 0 {
			return span{from: i, to: end, kind: "jwt"}, true
		}
	case 'B', 'b':
		if from, to := bearer(b, i); to > from {
			return span{from: from, to: to, kind: "bearer"}, true
		}
	}
	for k := range prefixes[c] {
		p := &prefixes[c][k]
		if !hasPrefix(b[i:], p.prefix) {
			continue
		}
		end := i + len(p.prefix)
		for end < len(b) && end-i <= maxToken && p.set(b[end]) {
			end++
		}
		for end > i && (b[end-1] == '.' || b[end-1] == '-' && p.max == 0) { // the end of a sentence
			end--
		}
		if n := end - i - len(p.prefix); n < p.min || p.max > 0 && n > p.max || p.mixed && !mixed(b[i+len(p.prefix):end]) {
			continue
		}
		return span{from: i, to: end, kind: p.kind}, true
	}
	return span{}, false
}

// hexadecimal reports whether a text of eight bytes at least has only digits, the letters a to f and dashes: ids of traces and requests. No token that
// is no number looks so, and find with noDigits and noKeys finds nothing in it. It looks at eight bytes at a time.
func hexadecimal(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i := 0; i < len(s); i += 8 {
		x := binary.LittleEndian.Uint64(view(s[min(i, len(s)-8):][:8]))
		if x&high != 0 {
			return false
		}
		// In each byte the high bit: no borrow or carry leaves one, since all are below 128.
		digit := (x + (128-'0')*ones) &^ (x + (127-'9')*ones)
		letter := (x + (128-'a')*ones) &^ (x + (127-'f')*ones)
		other := (x ^ '-'*ones) + 127*ones // of a dash it is not set
		if (digit|letter|^other)&high != high {
			return false
		}
	}
	return true
}

// maxToken bounds how far a token is followed, so that text made of beginnings takes no quadratic time.
const maxToken = 4096

// prefix is how keys of one provider begin and go on.
type prefix struct {
	prefix, kind string
	min, max     int // characters after the prefix; max 0 is any number
	set          func(byte) bool
	mixed        bool // must have a digit and a letter behind the prefix
}

// prefixes by first byte.
var prefixes = func() (t [256][]prefix) {
	for _, p := range []prefix{
		{"AKIA", "aws_key", 16, 16, upperDigit, false}, {"ASIA", "aws_key", 16, 16, upperDigit, false},
		{"ABIA", "aws_key", 16, 16, upperDigit, false}, {"ACCA", "aws_key", 16, 16, upperDigit, false},
		{"AIza", "google_key", 35, 35, urlSafe, false}, {"ya29.", "google_key", 20, 0, urlSafe, false},
		{"GOCSPX-", "google_key", 24, 0, urlSafe, false},
		{"ghp_", "github_token", 30, 255, word, true}, {"gho_", "github_token", 30, 255, word, true},
		{"ghu_", "github_token", 30, 255, word, true}, {"ghs_", "github_token", 30, 0, urlSafeDot, true},
		{"ghr_", "github_token", 30, 255, word, true}, {"github_pat_", "github_token", 22, 255, word, true},
		{"glpat-", "gitlab_token", 20, 255, urlSafeDot, false}, {"gldt-", "gitlab_token", 20, 64, urlSafe, false},
		{"xoxb-", "slack_token", 10, 0, urlSafe, true}, {"xoxp-", "slack_token", 10, 0, urlSafe, true},
		{"xoxa-", "slack_token", 10, 0, urlSafe, true}, {"xoxr-", "slack_token", 10, 0, urlSafe, true},
		{"xoxs-", "slack_token", 10, 0, urlSafe, true}, {"xoxe-", "slack_token", 10, 0, urlSafe, true},
		{"xoxe.", "slack_token", 10, 0, urlSafeDot, true}, {"xapp-", "slack_token", 10, 0, urlSafe, true},
		{"hooks.slack.com/services/", "slack_token", 20, 0, urlPath, true},
		{"sk_live_", "stripe_key", 10, 255, word, false}, {"sk_test_", "stripe_key", 10, 255, word, false},
		{"rk_live_", "stripe_key", 10, 255, word, false}, {"rk_test_", "stripe_key", 10, 255, word, false},
		{"whsec_", "stripe_key", 16, 255, base64Set, false},
		{"sk-ant-", "api_key", 20, 255, urlSafe, true}, {"sk-proj-", "api_key", 20, 255, urlSafe, true},
		{"sk-", "api_key", 32, 255, urlSafe, true}, {"SG.", "api_key", 40, 128, urlSafeDot, true},
		{"npm_", "api_key", 36, 36, word, false}, {"pypi-AgE", "api_key", 50, 0, urlSafe, false},
		{"dop_v1_", "api_key", 64, 64, isHex, false}, {"hf_", "api_key", 34, 40, word, true},
		{"shpat_", "api_key", 32, 32, isHex, false}, {"shpss_", "api_key", 32, 32, isHex, false},
		{"hvs.", "token", 24, 0, urlSafe, true}, {"hvb.", "token", 24, 0, urlSafe, true},
		{"sq0atp-", "api_key", 22, 60, urlSafe, false}, {"sq0csp-", "api_key", 43, 60, urlSafe, false},
		{"AGE-SECRET-KEY-1", "private_key", 50, 64, upperDigit, false}, {"dapi", "api_key", 32, 34, isHex, true},
		{"lin_api_", "api_key", 32, 64, word, true}, {"PMAK-", "api_key", 50, 64, urlSafe, true},
		{"key-", "api_key", 32, 32, isHex, true},
	} {
		t[p.prefix[0]] = append(t[p.prefix[0]], p)
	}
	return t
}()

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

func word(c byte) bool       { return class[c] == cWord }
func urlSafe(c byte) bool    { return class[c] == cWord || c == '-' }
func urlSafeDot(c byte) bool { return urlSafe(c) || c == '.' }
func urlPath(c byte) bool    { return urlSafe(c) || c == '/' }
func base64Set(c byte) bool  { return class[c] == cWord || c == '+' || c == '/' || c == '=' }
func upperDigit(c byte) bool { return isDigit(c) || c >= 'A' && c <= 'Z' }

// mixed reports whether v has a digit as well as a letter: words of a language do not.
func mixed(v []byte) bool {
	var digit, letter bool
	for _, c := range v {
		if isDigit(c) {
			digit = true
		} else if c != '-' && c != '_' && c != '.' {
			letter = true
		}
	}
	return digit && letter
}

// jwt is the end of a JSON Web Token in compact form (RFC 7515 section 7.1; five parts when encrypted, RFC 7516), 0
// when none begins at i.
func jwt(b []byte, i int) int {
	if !hasPrefix(b[i:], "eyJ") {
		return 0
	}
	parts, at, end := 0, i, i
	for parts < 5 {
		from := at
		for at < len(b) && (parts > 0 || at-from < maxToken) && urlSafe(b[at]) {
			at++
		}
		if parts == 0 && !jsonHead(b[from:at]) || parts == 1 && at-from < 4 && at > from {
			return 0
		}
		parts++
		end = at
		if at+1 >= len(b) || b[at] != '.' || !urlSafe(b[at+1]) && (parts != 1 || b[at+1] != '.') {
			break
		}
		at++
	}
	if parts < 2 {
		return 0
	}
	return end
}

// jsonHead reports whether v is base64url of the beginning of a JSON object.
func jsonHead(v []byte) bool {
	if len(v) < 10 {
		return false
	}
	var out [12]byte
	n, err := base64.RawURLEncoding.Decode(out[:], v[:min(len(v), 16)/4*4])
	return err == nil && n > 2 && out[0] == '{' && out[1] == '"'
}

// bearer is the token behind the word Bearer. Prose about bearers ("Bearer authentication") has no digits.
func bearer(b []byte, i int) (from, to int) {
	if len(b)-i < 24 || lower(string(b[i:i+7])) != "bearer " {
		return 0, 0
	}
	from = i + 7
	for to = from; to < len(b) && (base64Set(b[to]) || b[to] == '-' || b[to] == '.' || b[to] == '~'); to++ {
	}
	for to > from && b[to-1] == '.' {
		to--
	}
	if to-from < 16 || !mixed(b[from:to]) {
		return 0, 0
	}
	return from, to
}

// privateKey is the end of the PEM block (RFC 7468) that begins at i when it holds a private key. A block that was cut
// goes on to the end.
func privateKey(b []byte, i int) int {
	head := b[i+11 : min(len(b), i+80)]
	n := bytes.Index(head, []byte("-----"))
	if n < 0 || !bytes.Contains(head[:n], []byte("PRIVATE KEY")) {
		return 0
	}
	from := i + 11 + n + 5
	end := bytes.Index(b[from:], []byte("-----END "))
	if end < 0 {
		if q := bytes.IndexAny(b[from:], "\"'<"); q >= 0 {
			return from + q
		}
		return len(b)
	}
	end += from + 9
	if n := bytes.Index(b[end:min(len(b), end+64)], []byte("-----")); n >= 0 {
		return end + n + 5
	}
	return end
}

// userinfo bounds the password of scheme://user:password@host (RFC 3986 section 3.2.1); from is behind the slashes.
func userinfo(b []byte, from int) (int, int) {
	colon := -1
	for i := from; i < len(b) && i-from < 512; i++ {
		switch c := b[i]; {
		case c == '@':
			if colon < 0 || colon+1 == i {
				return 0, 0
			}
			return colon + 1, i
		case c == ':' && colon < 0:
			colon = i
		case c == '[' && colon == i-1:
			if n := marker(b[i:]); n > 0 {
				return 0, 0
			}
		case c == '/' || c == '?' || c == '#' || c <= ' ' || c == '"' || c == '<':
			return 0, 0
		}
	}
	return 0, 0
}

// redisAuth bounds the password of `*2 CRLF $4 CRLF AUTH CRLF $n CRLF password CRLF` (the last argument, when a user
// name stands before it), and says where to go on; next is 0 when b[i] begins no such command.
func redisAuth(b []byte, i int) (from, to, next int) {
	if i+2 >= len(b) || b[i+1] != '2' && b[i+1] != '3' || len(b)-i < 16 {
		return 0, 0, 0
	}
	if lower(string(b[i+2:min(len(b), i+14)])) != "\r\n$4\r\nauth\r\n" {
		return 0, 0, 0
	}
	at := i + 14
	for n := int(b[i+1] - '1'); n > 0; n-- {
		line := bytes.Index(b[at:min(len(b), at+12)], []byte("\r\n"))
		if line < 2 || b[at] != '$' {
			return 0, 0, 0
		}
		size := 0
		for _, c := range b[at+1 : at+line] {
			if !isDigit(c) || size > 1<<16 {
				return 0, 0, 0
			}
			size = size*10 + int(c-'0')
		}
		from = at + line + 2
		to = min(from+size, len(b))
		at = min(to+2, len(b))
	}
	if from >= to || marker(b[from:]) > 0 {
		return 0, 0, 0
	}
	return from, to, to
}
