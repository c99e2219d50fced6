package filter_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/filter"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`http && status_code >= 500`:          ``,
		`true`:                                `this is always true: it selects every row`,
		`!kafka`:                              `kafka is always false`,
		`http && conn`:                        `no row can ever match`,
		`http && redis`:                       `no row is both http and redis`,
		`status_code >= 0`:                    `status_code is never below 0: this is always true`,
		`http && status_code > -1`:            `status_code is never below 0: this is always true`,
		`status_code > 0`:                     ``,
		`status_code < 0`:                     `status_code is never below 0: this matches no row`,
		`grpc && grpc_status >= 0`:            ``,
		`method == "GET" && method == "POST"`: `method cannot be both`,
		`status_code > 500 && http && 400 > status_code`:                     `status_code cannot be both`,
		`status_code >= 500 && status_code < 600`:                            ``,
		`method != "GET" || method != "POST"`:                                `this is always true: whatever method is`,
		`method != "GET" && method != "POST"`:                                ``,
		`method == "GET" || method == "POST"`:                                ``,
		`src.name == "a" && dst.name == "b"`:                                 ``,
		`latency > duration("1s") && latency_ms < 100`:                       ``,
		`timestamp > now() && timestamp < timestamp("2020-01-01T00:00:00Z")`: `timestamp cannot be both`,
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Join(f.Warnings(), "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: want the warning %q, got %q", src, want, got)
		}
	}
}

// A name that nobody has is told, with the one that was perhaps meant.
func TestAgainst(t *testing.T) {
	t.Parallel()
	f, err := filter.Compile(`http && dst.service.name == "paymnt" && src.service.name == "frontend" || dst.namespace == "production"`)
	if err != nil {
		t.Fatal(err)
	}
	matched, of, warnings := f.Against(slices.Values([]*filter.Row{{Call: checkout()}}))
	want := []string{`dst.namespace == "production": no captured row has that; there are local`, `dst.service.name == "paymnt": no captured row has that; did you mean "payment"?`}
	slices.Sort(warnings)
	if diff := cmp.Diff(want, warnings); diff != "" || matched != 0 || of != 1 {
		t.Errorf("%d of %d: %s", matched, of, diff)
	}
}

func TestExplainSaysHowItIsSearched(t *testing.T) {
	t.Parallel()
	x, err := filter.Explain(`http and response.status == 500 and src.zone != dst.zone and mentions("12345")`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"reads as   http && status_code == 500", "columns    ", "proto", "state, status", "row by row src.zone, dst.zone; texts", "selects    calls (http"} {
		if !strings.Contains(x.String(), want) {
			t.Errorf("want %q in\n%s", want, x)
		}
	}
}
