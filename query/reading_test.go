package query

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

// Every answer says what the capture lacks; of a whole one it says nothing.
func TestReadingTellsGaps(t *testing.T) {
	t.Parallel()
	calls := someCalls(rand.New(rand.NewPCG(1, 1)), 10)
	for name, x := range map[string]struct {
		account traffic.Account
		want    string
	}{
		"whole":     {traffic.Account{Packets: 20}, ""},
		"lost":      {traffic.Account{Dropped: 3}, "3 packets lost"},
		"missing":   {traffic.Account{Missing: 40}, "40 bytes missing"},
		"unread":    {traffic.Account{Undecoded: 50}, "50 bytes that could not be read"},
		"malformed": {traffic.Account{Malformed: map[string]uint64{"tcp": 7}}, "1 kinds of malformed packets"},
		"cut off":   {traffic.Account{FileTruncated: true}, "the file ends inside a record"},
	} {
		db := inMemory(calls, nil)
		db.Account = x.account
		list, err := ListAPICalls(t.Context(), db, CallsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		stats, err := GetAPIStats(t.Context(), db, StatsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []string{list.Incomplete, stats.Incomplete} {
			if !strings.Contains(got, x.want) || (got == "") != (x.want == "") {
				t.Errorf("%s: %q, want %q", name, got, x.want)
			}
		}
	}
}

// A destination is allowed by its name and port as they were written: no other name that has it within, and no other port.
func TestAllowances(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr("203.0.113.7")
	for _, x := range []struct {
		allow, name string
		port        int
		want        bool
	}{
		{"api.example", "api.example", 443, true}, {"api.example", "api.example.evil", 443, false}, {"api.example", "my-api.example", 443, false},
		{"api.example:443", "api.example", 443, true}, {"api.example:443", "api.example", 80, false},
		{"*.example", "api.example", 443, true}, {"*.example", "api.example.evil", 443, false}, {"*.example", "myexample", 443, false},
		{"203.0.113.0/24", "x", 1, true}, {"203.0.113.0/24:443", "x", 80, false}, {"203.0.113.8", "x", 443, false}, {"203.0.113.7:443", "x", 443, true},
	} {
		list, err := parseAllowed([]string{x.allow})
		if err != nil {
			t.Fatal(err)
		}
		if got := list[0].allows(x.name, ip, x.port); got != x.want {
			t.Errorf("%s allows %s:%d: %v", x.allow, x.name, x.port, got)
		}
	}
}

// What is no cursor is not decoded, however long it is.
func TestLongCursor(t *testing.T) {
	t.Parallel()
	if _, err := readCursor(strings.Repeat("A", maxCursor+1), 1); err == nil || !strings.Contains(err.Error(), "1025 bytes") {
		t.Error(err)
	}
}

// What went over the wire in the clear once is said to have, whatever was encrypted later.
func TestPlaintextStays(t *testing.T) {
	t.Parallel()
	call := func(id, source string) *traffic.Call {
		return &traffic.Call{ID: id, Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Method: "GET", Path: "/", Status: 200, CaptureSource: source, HTTP: &traffic.HTTP{},
			Credentials: []traffic.Credential{{Kind: "bearer", Place: "request.header:authorization", Hash: "aa"}}}
	}
	for _, calls := range [][]*traffic.Call{{call("1", ""), call("2", traffic.SourceTLSKeyLog)}, {call("1", traffic.SourceTLSKeyLog), call("2", "")}} {
		a, err := FindSensitiveData(t.Context(), inMemory(calls, nil), SensitiveRequest{}, func([]byte) string { return "h" })
		if err != nil || len(a.Findings) != 1 || !a.Findings[0].Plain || a.Findings[0].Calls != 2 {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

// A policy is for pods of the system with a network of their own.
func TestWhatPoliciesAreFor(t *testing.T) {
	t.Parallel()
	pod := traffic.Endpoint{Workload: traffic.Workload{Namespace: "shop", Pod: "cart-1", Owner: "cart"}}
	for name, x := range map[string]struct {
		change func(e *traffic.Endpoint)
		want   bool
	}{
		"a pod":                    {func(*traffic.Endpoint) {}, true},
		"in the network of a node": {func(e *traffic.Endpoint) { e.HostNetwork = true }, false},
		"somebody outside":         {func(e *traffic.Endpoint) { e.Outside = true }, false},
		"the exercise":             {func(e *traffic.Endpoint) { e.Kind = traffic.KindExercise }, false},
		"no pod":                   {func(e *traffic.Endpoint) { e.Pod = "" }, false},
	} {
		e := pod
		x.change(&e)
		if _, got := (&policies{caveats: map[string]bool{}}).workload(&e); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An exported file's name leads nowhere else; it is refused before anything is opened.
func TestExportNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "../x.csv", "a/b.csv", `a\b.csv`, "/etc/x", ".hidden", "-x", "a\x00", strings.Repeat("a", 200)} {
		if _, err := export(nil, name, true, nil); err == nil || !strings.Contains(err.Error(), "is not a name for an exported file") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
