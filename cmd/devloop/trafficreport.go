package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// pushWait is how long a collector may take for one request.
const pushWait = 30 * time.Second

// mostLine bounds a line of exported traces.
const mostLine = 64 << 20

// writeTraffic writes an iteration's calls as another tool's file, to standard output, or sends traces to the collector at a URL. Only a
// URL that was typed is ever sent to.
func (r *root) writeTraffic(ctx context.Context, c *control.Client, it *traffic.Iteration, form, to string) error {
	wrong := func(err error) error {
		return &control.Error{What: fmt.Sprintf("write the %s report: %s", form, err), Exit: control.ExitUsage}
	}
	if c == nil || it.Snapshot == "" {
		return wrong(fmt.Errorf("there is no snapshot whose calls could be written"))
	}
	a, err := control.ExportCalls.Ask(ctx, c, query.ExportRequest{Selection: query.Selection{Scope: query.Scope{Snapshot: it.Snapshot}}, Format: form}, nil)
	if err != nil {
		return err
	}
	from, err := os.Open(a.Path)
	if err != nil {
		return wrong(err)
	}
	defer from.Close()
	defer os.Remove(a.Path) // a copy goes where it was asked for
	if strings.HasPrefix(to, "http://") || strings.HasPrefix(to, "https://") {
		if form != "otlp" {
			return wrong(fmt.Errorf("only otlp can be sent to %s", to))
		}
		if err := push(ctx, from, to); err != nil {
			return wrong(err)
		}
		r.say("… sent %d spans to %s", a.Calls, to)
		return nil
	}
	if to == "" {
		_, err := io.Copy(r.out, from)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return wrong(err)
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) // redacted, as readable as the umask allows
	if err != nil {
		return wrong(err)
	}
	if _, err := io.Copy(file, from); err != nil {
		file.Close()
		return wrong(err)
	}
	return file.Close()
}

// push posts each line to a collector's /v1/traces (OTLP/HTTP with JSON).
func push(ctx context.Context, lines io.Reader, to string) error {
	target, err := url.Parse(to)
	if err != nil || target.Host == "" {
		return fmt.Errorf("%s is no URL of a collector", to)
	}
	if target.Path == "" || target.Path == "/" {
		target.Path = "/v1/traces"
	}
	client := &http.Client{Timeout: pushWait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	scan := bufio.NewScanner(lines)
	scan.Buffer(nil, mostLine)
	for scan.Scan() {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(scan.Bytes()))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		said, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		response.Body.Close()
		if response.StatusCode/100 != 2 {
			return fmt.Errorf("%s answered %s: %s", target.Redacted(), response.Status, harmless(string(said)))
		}
	}
	return scan.Err()
}
