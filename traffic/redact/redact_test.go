package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devloop-io/devloop/traffic"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

const testJWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

// secret builds text that looks like a key without the source holding one.
func secret(parts ...string) string { return strings.Join(parts, "") }

func TestTextHides(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, in, kind, value string }{
		{"json", `{"user":"ann","password":"hunter2"}`, "password", "hunter2"},
		{"json spaced", "{\n  \"access_token\" : \"abc.def\" }", "token", "abc.def"},
		{"json escapes", `{"secret":"a\"b\/c"}`, "secret", `a"b/c`},
		{"json in json", `{"inner":"{\"api_key\":\"k-123\"}"}`, "api_key", "k-123"},
		{"json number", `{"card_number": 4111111111111111}`, "card", "4111111111111111"},
		{"json cut", `{"refresh_token":"abcdef`, "token", "abcdef"},
		{"json list", `{"tokens":["abc"]}`, "token", "abc"},
		{"suffix", `{"stripe-api-key":"zz"}`, "api_key", "zz"},
		{"camel", `{"clientSecret":"zz"}`, "secret", "zz"},
		{"form", "a=1&client_secret=s3c%2Fr", "secret", "s3c/r"},
		{"yaml", "db:\n  password: correct horse\n", "password", "correct horse"},
		{"env", "DB_PASSWORD=s3cr3t", "password", "s3cr3t"},
		{"flag", "run --password=s3cr3t now", "password", "s3cr3t"},
		{"xml", "<login><ns:password>p w</ns:password></login>", "password", "p w"},
		{"multipart", "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--b--", "password", "hunter2"},
		{"graphql", `mutation { login(password: "hunter2") }`, "password", "hunter2"},
		{"url", "postgres://bob:hunter2@db:5432/x", "password", "hunter2"},
		{"header line", "GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\n\r\n", "bearer", "abc"},
		{"basic", "Authorization: Basic YTpi\r\n", "basic", "YTpi"},
		{"set-cookie", "Set-Cookie: sid=abcdefgh; Path=/; HttpOnly\r\n", "cookie", "abcdefgh"},
		{"jwt", "see " + testJWT + ".", "jwt", testJWT},
		{"bearer in text", `"msg":"sent bearer 0123456789abcdef0a"`, "bearer", "0123456789abcdef0a"},
		{"aws", secret("x AKIA", "IOSFODNN7EXAMPLE y"), "aws_key", secret("AKIA", "IOSFODNN7EXAMPLE")},
		{"github", secret("ghp", "_0123456789abcdefghijABCDEFGHIJ456789"), "github_token", secret("ghp", "_0123456789abcdefghijABCDEFGHIJ456789")},
		{"slack", secret("xox", "b-123456789012-abcDEF"), "slack_token", secret("xox", "b-123456789012-abcDEF")},
		{"stripe", secret("sk_", "live_0123456789abcdef"), "stripe_key", secret("sk_", "live_0123456789abcdef")},
		{"google", secret("AIza", "SyA01234567890123456789012345678901"), "google_key", ""},
		{"pem", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "private_key", ""},
		{"card", "paid with 4111 1111 1111 1111.", "card", "4111 1111 1111 1111"},
		{"card dashes", "5500-0000-0000-0004", "card", "5500-0000-0000-0004"},
		{"amex", "378282246310005", "card", "378282246310005"},
		{"iban", "to DE89370400440532013000 now", "iban", "DE89370400440532013000"},
		{"iban grouped", "GB82 WEST 1234 5698 7654 32", "iban", "GB82 WEST 1234 5698 7654 32"},
		{"ssn", "ssn is 078-05-1120", "ssn", "078-05-1120"},
		{"cpf", "cpf 529.982.247-25", "id_number", "529.982.247-25"},
		{"redis", "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "password", "secret"},
		{"redis user", "*3\r\n$4\r\nauth\r\n$3\r\nbob\r\n$6\r\nsecret\r\n", "password", "secret"},
		{"percent", "q=x%20" + testJWT, "jwt", testJWT},
	}
	r := New(testKey, Options{})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := r.Text(c.in)
			if !strings.Contains(got, "[redacted "+c.kind+" ") {
				t.Fatalf("Text(%q) = %q, want a %s redacted", c.in, got, c.kind)
			}
			if c.value != "" {
				want := fmt.Sprintf("[redacted %s %d %s]", c.kind, len(c.value), r.Hash([]byte(c.value)))
				if !strings.Contains(got, want) {
					t.Errorf("Text(%q) = %q, want %s in it", c.in, got, want)
				}
			}
			if again := r.Text(got); again != got {
				t.Errorf("not idempotent: %q, then %q", got, again)
			}
		})
	}
}

// TestTextKeeps is the corpus of what looks alike and is no secret.
func TestTextKeeps(t *testing.T) {
	t.Parallel()
	r := New(testKey, Options{})
	for _, in := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"550e8400-e29b-41d4-a716-446655440000",
		"41111111-1111-4111-8111-111111111111",
		"12345678-1234-1234-1234-123456789012",
		"1731234567890", "1731234567890123456", "1700000000000000", "2026-11-21T04:14:42.123456789Z", "2026-11-21 04:14:42",
		`{"id":4111111111111112,"total":12.50,"ts":1731234567890123}`,
		`{"price":0.4111111111111111,"x":-4111111111111111}`,
		`{"next_page_token":"abc","token_type":"Bearer","expires_in":3600,"max_tokens":4096,"tokens":1234,"prompt_tokens":12}`,
		`{"pass":12,"fail":3,"has_password":true,"password":null,"password_reset_required":false}`,
		"Bearer authentication is required", `Bearer realm="shop", error="invalid_token"`,
		"Invalid password: must be 8 characters", "the token was rejected", "if (token == null) { return }",
		"GET /api/v1/items?page=2&sort=price&key=name HTTP/1.1\r\nHost: shop:8080\r\nAccept: */*\r\n\r\n",
		"https://shop.local:8443/a@b?x=1", "http://[::1]:8080/", "mailto:bob@example.com", "12:34:56:78@x",
		"+49 30 123456789", "(555) 123-4567", "555-12-34", "192.168.100.200", "10.0.0.1:5432", "4006381333931", "978-3-16-148410-0",
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", `W/"33a64df551425fcc55e4d42a148795d9f25f89d4"`,
		"eyJust a word", "sk-learn is a library", "AKIA is a prefix", "skeleton_live_demo", "task-0123456789abcdef0123456789abcdef0123",
		"DE00370400440532013000", "SKU AB123456C and AB12CDEF", "IE6388047V", "order 000-12-3456 and 900-12-3456",
		"1.2.3-4.5.6", "v1.26.8", "0123456789", "123456789012345678901234567890", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"Idempotency-Key: 8e03978e-40d5-43e8-bc93-6894a57f9324\r\nX-Request-Id: 7f3c\r\n",
		"Access-Control-Allow-Credentials: true\r\n", "Assembly, PublicKeyToken=b77a5c561934e089", `[redacted token 5 0123abcd]`, `{"public_key":"abc","primary_key":"id","keyboard":"x","monkey":"y"}`,
	} {
		if got := r.Text(in); got != in {
			t.Errorf("Text(%q) = %q, want it unchanged", in, got)
		}
	}
}

func call() *traffic.Call {
	return &traffic.Call{
		Protocol: traffic.ProtoHTTP, Method: "POST", Path: "/pay/" + testJWT,
		HTTP: &traffic.HTTP{
			Host: "shop.local", Query: "page=2&token=tok%2F123&user%5Bpassword%5D=p",
			RequestHeaders: []traffic.Header{
				{Name: "Authorization", Value: "Bearer tok/123"},
				{Name: "Cookie", Value: "sid=abcdefghij; lang=en"},
				{Name: "X-Api-Key", Value: "k1k1k1k1"},
				{Name: "X-Shop-Ticket", Value: "t-99"},
				{Name: "Referer", Value: "http://x/?access_token=tok/123&a=b"},
				{Name: "X-Request-Id", Value: "4111111111111111"},
				{Name: "Content-Type", Value: "application/json"},
			},
			ResponseHeaders: []traffic.Header{{Name: "Set-Cookie", Value: "sid=abcdefghij; Path=/; HttpOnly"}},
			RequestBody:     []byte(`{"token":"tok/123","door":"open sesame","n":1}`),
			ResponseBody:    []byte(`{"card":"4111111111111111"}`),
		},
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	r := New(testKey, Options{Headers: []string{"X-Shop-Ticket"}, Keys: []string{"door"}})
	c := call()
	r.Call(c)
	mark := func(kind, v string) string {
		return fmt.Sprintf("[redacted %s %d %s]", kind, len(v), r.Hash([]byte(v)))
	}
	want := call()
	want.Path = "/pay/" + mark("jwt", testJWT)
	h := want.HTTP
	h.Query = "page=2&token=" + mark("token", "tok/123") + "&user%5Bpassword%5D=" + mark("password", "p")
	h.RequestHeaders[0].Value = "Bearer " + mark("bearer", "tok/123")
	h.RequestHeaders[1].Value = "sid=" + mark("cookie", "abcdefghij") + "; lang=" + mark("cookie", "en")
	h.RequestHeaders[2].Value = mark("api_key", "k1k1k1k1")
	h.RequestHeaders[3].Value = mark("secret", "t-99")
	h.RequestHeaders[4].Value = "http://x/?access_token=" + mark("token", "tok/123") + "&a=b"
	h.ResponseHeaders[0].Value = "sid=" + mark("cookie", "abcdefghij") + "; Path=/; HttpOnly"
	h.RequestBody = []byte(`{"token":"` + mark("token", "tok/123") + `","door":"` + mark("secret", "open sesame") + `","n":1}`)
	h.ResponseBody = []byte(`{"card":"` + mark("card", "4111111111111111") + `"}`)
	token, sid := r.Hash([]byte("tok/123")), r.Hash([]byte("abcdefghij"))
	want.Credentials = []traffic.Credential{
		{Kind: "jwt", Place: "request.path", Hash: r.Hash([]byte(testJWT))},
		{Kind: "token", Place: "request.query:token", Hash: token},
		{Kind: "password", Place: "request.query:password", Hash: r.Hash([]byte("p"))},
		{Kind: "bearer", Place: "request.header:authorization", Hash: token},
		{Kind: "cookie", Place: "request.cookie:sid", Hash: sid},
		{Kind: "api_key", Place: "request.header:x-api-key", Hash: r.Hash([]byte("k1k1k1k1"))},
		{Kind: "secret", Place: "request.header:x-shop-ticket", Hash: r.Hash([]byte("t-99"))},
		{Kind: "token", Place: "request.header:referer:access_token", Hash: token},
		{Kind: "cookie", Place: "response.cookie:sid", Hash: sid},
		{Kind: "token", Place: "request.body:token", Hash: token},
		{Kind: "secret", Place: "request.body:door", Hash: r.Hash([]byte("open sesame"))},
		{Kind: "card", Place: "response.body:card", Hash: r.Hash([]byte("4111111111111111"))},
	}
	if diff := cmp.Diff(want, c, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("redacted call (-want +got):\n%s", diff)
	}
	r.Call(c)
	if diff := cmp.Diff(want, c, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("redacted twice (-want +got):\n%s", diff)
	}
}

func TestJSONStaysJSON(t *testing.T) {
	t.Parallel()
	r := New(testKey, Options{})
	got := r.Text(`{"card": 4111111111111111, "password": "a\"b", "n": [1,2], "pin": 12345, "cvv": 123}`)
	if !json.Valid([]byte(got)) {
		t.Errorf("no JSON any more: %s", got)
	}
	for _, gone := range []string{"41111", "123", `a\"b`} {
		if strings.Contains(strings.ReplaceAll(got, "12345", ""), gone) {
			t.Errorf("%s is still in %s", gone, got)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{`{"token":"x"}`, "a=1&token=%zz", "Authorization: Bearer x", "[redacted x 1 00000000]y", "://a:[redacted x 1 00000000]@b",
		"<password>x", `\"token\":\"x`, "-----BEGIN PRIVATE KEY-----", "Cookie: a=b; c", "*2\r\n$4\r\nAUTH\r\n$9\r\nx", "4111111111111111", testJWT,
		`name="token"` + "\r\n\r\nx\r\n--", "DE89 3704 0044 0532 0130 00", "token=[redacted token 1 00000000]x&y"} {
		f.Add(s)
	}
	r := New(testKey, Options{})
	f.Fuzz(func(t *testing.T, s string) {
		once := r.Text(s)
		if twice := r.Text(once); twice != once {
			t.Fatalf("Text(%q) = %q, again %q", s, once, twice)
		}
		c := &traffic.Call{Protocol: "http", Path: s, HTTP: &traffic.HTTP{Query: s, RequestBody: []byte(s),
			RequestHeaders: []traffic.Header{{Name: "Cookie", Value: s}, {Name: "Authorization", Value: s}, {Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}}}
		r.Call(c)
		before, _ := json.Marshal(c)
		r.Call(c)
		if after, _ := json.Marshal(c); !bytes.Equal(before, after) {
			t.Fatalf("call of %q:\n%s\n%s", s, before, after)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	r := New(testKey, Options{})
	body := []byte(`{"items":[` + strings.Repeat(`{"id":12345,"name":"blue shirt","price":12.5,"in_stock":true},`, 10) + `{"id":1}]}`)
	header := []traffic.Header{{Name: "Host", Value: "catalogue:8080"}, {Name: "User-Agent", Value: "Go-http-client/1.1"},
		{Name: "Traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {Name: "Accept-Encoding", Value: "gzip"},
		{Name: "X-Request-Id", Value: "550e8400-e29b-41d4-a716-446655440000"}, {Name: "Date", Value: http.TimeFormat}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c := traffic.Call{Protocol: "http", Path: "/items", HTTP: &traffic.HTTP{Query: "page=2&sort=price", RequestHeaders: header, ResponseBody: body}}
		r.Call(&c)
	}
}
