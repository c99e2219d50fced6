package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store/bundle"
	"github.com/devloop-io/devloop/traffic"
)

// openVerb looks into an evidence bundle.
func openVerb(r *root) *cobra.Command {
	var (
		calls   string
		all     bool
		packets string
		limit   int
	)
	c := &cobra.Command{
		Use: "open FILE", Short: "Look into an evidence bundle: its verdict, calls and packets; its checks are judged again", Args: cobra.ExactArgs(1),
		Long: `open reads a bundle that devloop ci --bundle or devloop export bundle wrote, on any machine: it needs neither daemon nor workspace. It
verifies every digest, judges the rows by the checks again, and says where a verdict is another one now. Digests tell damage; they do not
tell who made the file. What it shows comes from the wire of another machine: treat it as such.`,
		Example: "  devloop open i7.bundle\n  devloop open i7.bundle --calls 'http && status_code >= 500'\n  devloop open i7.bundle --packets i7.pcapng",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			b, done, err := openBundle(args[0])
			if err != nil {
				return err
			}
			defer done()
			if packets != "" {
				return r.unpack(b, bundle.PacketsName, packets)
			}
			o, err := devloop.OpenBundle(b)
			if err != nil {
				return &control.Error{What: args[0] + ": " + err.Error(), Exit: control.ExitUsage}
			}
			if calls != "" || all {
				return r.bundleCalls(ctx, o, calls, limit)
			}
			return r.toldBundle(o, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&calls, "calls", "", "list the calls that this KFL selects")
	f.BoolVar(&all, "all-calls", false, "list all calls")
	f.IntVar(&limit, "limit", 100, "how many calls, at most 1000")
	f.StringVar(&packets, "packets", "", "write the packets to this file, which must not be there yet")
	return c
}

// openBundle opens the file; done closes it.
func openBundle(path string) (b *bundle.Bundle, done func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err == nil {
		b, err = bundle.Open(f, info.Size())
	}
	if err != nil {
		f.Close()
		return nil, nil, &control.Error{What: path + ": " + err.Error(), Hint: "devloop export bundle writes one", Exit: control.ExitUsage}
	}
	return b, func() { f.Close() }, nil
}

// unpack writes a member to a new file.
func (r *root) unpack(b *bundle.Bundle, member, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return control.Usagef("name another file", path+" is there already")
	case err != nil:
		return err
	}
	if err := errors.Join(b.Copy(f, member), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	r.say("wrote %s: wireshark %s", path, path)
	return nil
}

// bundleCalls lists calls of a bundle as devloop calls lists those of an iteration.
func (r *root) bundleCalls(ctx context.Context, o *devloop.Opened, kfl string, limit int) error {
	a, err := query.ListAPICalls(ctx, o.Database(), query.CallsRequest{Selection: query.Selection{KFL: kfl}, Limit: limit})
	var m *query.Error
	switch {
	case errors.As(err, &m):
		return control.Usagef(m.Hint, m.What)
	case err != nil:
		return err
	}
	r.tellReading(&a.Reading)
	if !r.text() {
		return r.json(a)
	}
	w := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	showCalls(w, a)
	return w.Flush()
}

// toldBundle tells verdicts, then and now. The exit code is that of now, and of a difference.
func (r *root) toldBundle(o *devloop.Opened, path string) error {
	if !r.text() {
		if err := r.json(o); err != nil {
			return err
		}
	} else {
		r.printBundle(o, path)
	}
	if len(o.Differs) > 0 {
		return &control.Error{What: fmt.Sprintf("%d checks have another verdict now: %s", len(o.Differs), harmless(o.Differs[0])), Hint: "written by " + harmless(o.Tool), Exit: control.ExitFail}
	}
	if o.ExitCode != 0 {
		return exit(o.ExitCode)
	}
	return nil
}

func (r *root) printBundle(o *devloop.Opened, path string) {
	w, it := r.out, o.Iteration
	fmt.Fprintf(w, "%s  %s  %d calls  %d connections  written by %s\n\n", harmless(it.ID), harmless(it.Revision), len(o.Rows.Calls), len(o.Rows.Connections), harmless(o.Tool))
	for _, c := range o.Again {
		if c.Builtin && c.Verdict == traffic.Skipped {
			continue
		}
		fmt.Fprintf(w, "  %s %s  n=%d\n", r.mark(c.Verdict), harmless(checkName(c)), c.N)
		if c.Verdict == traffic.Pass {
			continue
		}
		fmt.Fprintf(w, "      %s\n", harmless(c.Reason))
		for _, e := range c.Evidence {
			fmt.Fprintf(w, "      packets %d-%d  %s\n", e.Packets.First, e.Packets.Last, harmless(e.Summary))
		}
	}
	for _, name := range o.Untried {
		i := slices.IndexFunc(it.Checks, func(c traffic.CheckResult) bool { return c.Name == name })
		fmt.Fprintf(w, "  %s %s  as told then; it needs more than the bundle has\n      %s\n", r.mark(it.Checks[i].Verdict), harmless(name), harmless(it.Checks[i].Reason))
	}
	fmt.Fprintf(w, "\nverdict then: %s   now, over the same rows: %s\n", it.Verdict, o.Verdict)
	if o.Packets {
		fmt.Fprintf(w, "calls: devloop open %s --all-calls   packets: devloop open %s --packets FILE.pcapng\n", path, path)
	}
}

// exportBundleVerb writes a bundle.
func exportBundleVerb(r *root) *cobra.Command {
	var q control.BundleRequest
	var file string
	c := &cobra.Command{
		Use: "bundle", Short: "One redacted file with verdict, calls, checks and masked packets, for devloop open on another machine", Args: cobra.NoArgs,
		Example: "  devloop export bundle --file i7.bundle",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			a, err := r.bundle(ctx, c, q, file)
			if err != nil {
				return err
			}
			if !r.text() {
				return r.json(a)
			}
			fmt.Fprintf(r.out, "%s  %d bytes  sha256 %s\n", a.File, a.Bytes, a.SHA256)
			return nil
		},
	}
	c.Flags().StringVar(&q.Iteration, "iteration", "", "iteration to look at; the newest with traffic by default")
	c.Flags().StringVar(&file, "file", "", "write it here; into .devloop/exports by default")
	return c
}

// bundle asks for a bundle and, where a file is named, moves it there: mode 0600, and never over another file.
func (r *root) bundle(ctx context.Context, c *control.Client, q control.BundleRequest, file string) (*control.BundleAnswer, error) {
	a, err := control.Bundle.Ask(ctx, c, q, nil)
	if err != nil || file == "" {
		return a, err
	}
	if _, err := os.Lstat(file); err == nil {
		return nil, errors.Join(control.Usagef("name another file, or remove it first", file+" is there already"), os.Remove(a.File))
	}
	data, err := os.ReadFile(a.File)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err = errors.Join(err, os.Remove(a.File)); err != nil {
		return nil, fmt.Errorf("write the bundle to %s: %w", file, err)
	}
	a.File, a.Path, a.Next = file, file, "devloop open "+file
	return a, nil
}
