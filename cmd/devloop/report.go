package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/devloop-io/devloop/assertions/report"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// reports are what --report asks for.
type reports struct {
	specs  []string // FORM or FORM=FILE
	bundle string   // file of an evidence bundle; none where empty
}

func (o *reports) flag(f *pflag.FlagSet) {
	var names []string
	for _, form := range slices.Concat(report.Formats(), report.Traffic()) {
		names = append(names, form.Name)
	}
	f.StringArrayVar(&o.specs, "report", nil, "also write a report: FORM=FILE, or FORM for standard output; otlp also to a collector, otlp=http://127.0.0.1:4318; repeatable. Forms: "+strings.Join(names, ", "))
}

// check refuses what cannot be written before anything runs.
func (o *reports) check() error {
	for _, spec := range o.specs {
		name, _, _ := strings.Cut(spec, "=")
		if _, err := report.Find(name); err != nil {
			return &control.Error{What: err.Error(), Exit: control.ExitUsage}
		}
	}
	return nil
}

const (
	reportEndpoints = 50
	reportTrees     = 3
	reportEvidence  = 3    // calls of a check
	reportBody      = 2048 // bytes of their bodies
)

// write writes the reports of an iteration. Without a client only what the iteration says is there to tell.
func (o *reports) write(ctx context.Context, r *root, c *control.Client, it *traffic.Iteration, allowed bool) error {
	if o.bundle != "" && c != nil && it.Snapshot != "" {
		if _, err := r.bundle(ctx, c, control.BundleRequest{Iteration: it.ID, Told: it}, o.bundle); err != nil {
			return err
		}
	}
	if len(o.specs) == 0 {
		return nil
	}
	told := r.report(ctx, it, allowed)
	drawn := slices.ContainsFunc(o.specs, func(spec string) bool {
		name, _, _ := strings.Cut(spec, "=")
		form, _ := report.Find(name)
		return form.Draws
	})
	if drawn && c != nil && it.Snapshot != "" {
		drawing(ctx, c, told)
	}
	for _, spec := range o.specs {
		name, to, _ := strings.Cut(spec, "=")
		var err error
		if form, _ := report.Find(name); form.Write == nil {
			err = r.writeTraffic(ctx, c, it, name, to)
		} else {
			err = writeReport(r, told, spec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// report is what is told of an iteration, before anything is drawn.
func (r *root) report(ctx context.Context, it *traffic.Iteration, allowed bool) *report.Report {
	told := &report.Report{Version: buildinfo.Version(), Iteration: it, Allowed: allowed}
	if workspace, err := r.findWorkspace(); err == nil {
		told.Workspace = filepath.Base(workspace)
		if within, err := git(ctx, workspace, "rev-parse", "--show-prefix"); err == nil { // elsewhere the workspace is the top
			told.Within = within
		}
	}
	return told
}

// writeReport writes one report: to its file, which is replaced, or to standard output.
func writeReport(r *root, told *report.Report, spec string) error {
	name, path, toFile := strings.Cut(spec, "=")
	form, err := report.Find(name)
	if err != nil {
		return &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	if !toFile {
		return form.Write(r.out, told)
	}
	var b bytes.Buffer
	if err := form.Write(&b, told); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return &control.Error{What: fmt.Sprintf("write the %s report: %s", name, err), Exit: control.ExitUsage}
	}
	// A report is for other programs, and redacted: it is as readable as the umask allows.
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return &control.Error{What: fmt.Sprintf("write the %s report: %s", name, err), Exit: control.ExitUsage}
	}
	return nil
}

// drawing asks for what a page draws. A report without one of these is still a report.
func drawing(ctx context.Context, c *control.Client, told *report.Report) {
	it := told.Iteration
	scope := query.Selection{Scope: query.Scope{Snapshot: it.Snapshot}}
	if m, err := control.GetServiceMap.Ask(ctx, c, query.MapRequest{Selection: scope}, nil); err == nil {
		told.Map = m
	}
	if s, err := control.GetAPIStats.Ask(ctx, c, query.StatsRequest{Selection: scope, Limit: reportEndpoints}, nil); err == nil {
		told.Endpoints = s.Stats
	}
	told.Evidence = map[string][]traffic.FullCall{}
	for i := range it.Checks {
		check := &it.Checks[i]
		if check.Verdict != traffic.Fail {
			continue
		}
		for _, e := range check.Evidence[:min(reportEvidence, len(check.Evidence))] {
			if e.Call == "" {
				continue
			}
			if call, err := fullCall(ctx, c, it.Snapshot, e.Call); err == nil {
				told.Evidence[check.Name] = append(told.Evidence[check.Name], call)
			}
			if len(told.Trees) < reportTrees {
				if t, err := c.Trace(ctx, control.TraceRequest{ID: e.Call, Iteration: it.ID}); err == nil {
					told.Trees = append(told.Trees, t.Root)
				}
			}
		}
	}
	if len(told.Trees) == 0 {
		if t, err := c.Trace(ctx, control.TraceRequest{Iteration: it.ID}); err == nil && t.Root != nil {
			told.Trees = append(told.Trees, t.Root)
		}
	}
}

// fullCall is a call with headers and bodies, as far as a page shows them.
func fullCall(ctx context.Context, c *control.Client, snapshot, id string) (call traffic.FullCall, err error) {
	a, err := control.GetAPICall.Ask(ctx, c, query.CallRequest{Scope: query.Scope{Snapshot: snapshot}, ID: id, MaxPayloadSize: reportBody}, nil)
	if err != nil {
		return call, err
	}
	entry, err := json.Marshal(a.Entry)
	if err == nil {
		err = json.Unmarshal(entry, &call)
	}
	return call, err
}
