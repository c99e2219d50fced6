package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPush: lines of traces reach a collector's path one by one, and what it refuses is told.
func TestPush(t *testing.T) {
	got := 0
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m map[string][]any
		if err := json.Unmarshal(body, &m); err != nil || len(m["resourceSpans"]) != 1 || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", r.URL, body, err)
		}
		if got++; got == 3 {
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, "later")
		}
	}))
	defer collector.Close()
	const line = `{"resourceSpans":[{}]}` + "\n"
	if err := push(t.Context(), strings.NewReader(line+line), collector.URL); err != nil || got != 2 {
		t.Errorf("%d requests, %v", got, err)
	}
	if err := push(t.Context(), strings.NewReader(line), collector.URL); err == nil || !strings.Contains(err.Error(), "429") || !strings.Contains(err.Error(), "later") {
		t.Errorf("a refusal: %v", err)
	}
	if err := push(t.Context(), strings.NewReader(line), "http:///x"); err == nil {
		t.Error("no host is accepted")
	}
}
