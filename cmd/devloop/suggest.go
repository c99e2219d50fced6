package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/suggest"
	"github.com/devloop-io/devloop/internal/control"
)

// suggestVerb drafts checks from traffic.
func suggestVerb(r *root) *cobra.Command {
	var (
		q           control.SuggestRequest
		pcap, write string
	)
	c := &cobra.Command{
		Use: "suggest", Short: "Draft checks from what was observed, each tried on planted faults", Args: cobra.NoArgs,
		Long: `suggest drafts checks from the newest iterations of one revision, from a snapshot, or from a capture file: statuses, headers, fields,
calls per request, retries, connections, latencies, who speaks to whom, what leaves the system. A check is offered when it held in every
run, and failed when its fault was planted in a copy of the rows: answers that become 500, calls made one by one, a header that is lost.

Nothing is accepted by itself: the YAML on standard output is to be read, cut and sharpened. What was observed need not be what is meant.`,
		Example: "  devloop suggest\n  devloop suggest --last 5 --write checks/observed.netcheck.yaml\n  devloop suggest --pcap x.pcapng",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			a, err := r.suggested(ctx, q, pcap)
			if err != nil {
				return err
			}
			for _, w := range a.Warnings {
				r.say("warning: %s", harmless(w))
			}
			if write != "" {
				return r.writeSuggestions(a, write)
			}
			if r.text() {
				_, err := fmt.Fprint(r.out, harmless(a.YAML))
				return err
			}
			return r.json(a)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&q.Iterations, "iteration", nil, "iterations of one code, oldest first; by default the newest that did not fail, with those before it of the same revision and exercise")
	f.IntVar(&q.Last, "last", 0, "how many of these at most; 10 by default")
	f.StringVar(&q.DB, "db", "", "a snapshot or SNAPSHOT/DISSECTION instead of iterations")
	f.StringVar(&pcap, "pcap", "", "capture file instead (pcap or pcapng, also compressed; - for standard input); needs neither daemon nor devloop.yaml")
	f.IntVar(&q.Limit, "limit", 0, "checks to offer at most; 25 by default, -1 for all")
	f.StringVar(&write, "write", "", "write the YAML to this file, which must not be there yet")
	return c
}

// suggested asks the daemon, or reads the capture file here.
func (r *root) suggested(ctx context.Context, q control.SuggestRequest, pcap string) (*suggest.Answer, error) {
	if pcap == "" {
		c, _, err := r.connect(ctx)
		if err != nil {
			return nil, err
		}
		return control.ChecksSuggest.Ask(ctx, c, q, nil)
	}
	if len(q.Iterations) > 0 || q.Last != 0 || q.DB != "" {
		return nil, control.Usagef("leave out --iteration, --last and --db", "checks are drafted from a capture file or from what the daemon has")
	}
	d, err := dissectAll(ctx, pcap)
	if err != nil {
		return nil, err
	}
	return suggest.From([]assertions.Input{{Dissection: d, WindowStart: d.Account.First, WindowEnd: d.Account.Last}}, suggest.Options{Limit: q.Limit})
}

// writeSuggestions writes a new file, and never over one that somebody has edited.
func (r *root) writeSuggestions(a *suggest.Answer, file string) error {
	if len(a.Checks) == 0 {
		return &control.Error{What: "nothing was written: no check holds in every run and is broken by a fault", Hint: "devloop calls shows what was observed", Exit: control.ExitUsage}
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	switch {
	case errors.Is(err, fs.ErrExist):
		return control.Usagef("name another file, or remove it first", file+" is there already and may have been edited")
	case err != nil:
		return fmt.Errorf("write the checks: %w", err)
	}
	_, err = out.WriteString(a.YAML)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write the checks to %s: %w", file, err)
	}
	r.say("wrote %d checks to %s: read them, cut and sharpen, and commit what is meant", len(a.Checks), file)
	if !strings.HasSuffix(file, ".netcheck.yaml") {
		r.say("note: devloop.yaml names check files, usually checks/*.netcheck.yaml")
	}
	if r.text() {
		return nil
	}
	return r.json(a)
}
