package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// snapshotVerb makes and reads sealed packets. What only reads needs no daemon.
func snapshotVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "Sealed packets: create, list, get, export, dissect, delete"}
	c.AddCommand(
		snapshotCreate(r),
		&cobra.Command{Use: "list", Short: "The snapshots, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return r.listSnapshots(cmd.Context()) }},
		&cobra.Command{Use: "get ID", Short: "What a snapshot holds", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			a, err := kept(cmd.Context(), r, control.GetSnapshot, (*devloop.Session).GetSnapshot, query.SnapshotRequest{ID: args[0]})
			if err != nil {
				return err
			}
			return r.json(a)
		}},
		&cobra.Command{Use: "events ID", Short: "What happened in the cluster meanwhile: restarts, failing probes, rollouts", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return r.withSnapshot(args[0], r.printEvents)
		}},
		&cobra.Command{Use: "verify ID", Short: "Compare every byte with the digests", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return r.withSnapshot(args[0], func(sn *store.Snapshot) error { return sn.Verify(cmd.Context()) })
		}},
		&cobra.Command{Use: "delete ID", Short: "Delete a snapshot, with its dissections", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			a, err := kept(cmd.Context(), r, control.DeleteSnapshot, (*devloop.Session).DeleteSnapshot, query.SnapshotRequest{ID: args[0]})
			if err == nil && !r.text() {
				err = r.json(a)
			}
			return err
		}},
		snapshotExport(r),
		snapshotDissect(r),
		snapshotDissections(r),
	)
	return c
}

// kept asks the daemon, or reads the workspace's folder where there is none: the function is the same.
func kept[Q, A any](ctx context.Context, r *root, m control.Method[Q, A], here func(*devloop.Session, context.Context, Q) (*A, error), q Q) (*A, error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	c, _, err := r.dial(ctx)
	if err == nil {
		return m.Ask(ctx, c, q, nil)
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return nil, err
	}
	workspace, err := r.findWorkspace()
	if err != nil {
		return nil, err
	}
	s, err := devloop.New(devloop.Options{Workspace: workspace, Version: buildinfo.ID()})
	if err != nil {
		return nil, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	return here(s, ctx, q)
}

// pollEvery is between two looks at something that takes long.
const pollEvery = 50 * time.Millisecond

func snapshotCreate(r *root) *cobra.Command {
	var q query.CreateSnapshotRequest
	var start, end string
	var leave bool
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Make a snapshot of what was recorded: the last minutes, or a window", Args: cobra.MaximumNArgs(1),
		Example: "  devloop snapshot create checkout-503 --duration 30m",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				q.Name = args[0]
			}
			if q.Start, err = moment(start); err == nil {
				q.End, err = moment(end)
			}
			if err != nil {
				return err
			}
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			a, err := control.CreateSnapshot.Ask(ctx, c, q, nil)
			if err != nil {
				return err
			}
			if a.Note != "" {
				r.say("%s", a.Note)
			}
			if leave {
				return r.either(a, "snapshot %s is being made\n", a.ID)
			}
			for {
				info, err := control.GetSnapshot.Ask(ctx, c, query.SnapshotRequest{ID: a.ID}, nil)
				switch {
				case err != nil:
					return err
				case info.Status == "failed":
					return &control.Error{What: fmt.Sprintf("snapshot %s was not made: %s", info.ID, info.Error), Hint: info.Hint, Exit: control.ExitEnvironment}
				case info.Status != "in_progress":
					return r.either(info, "%s  %d packets, %d bytes\n", info.ID, info.Packets, info.Size)
				}
				if err := pauseFor(ctx, pollEvery); err != nil {
					return err
				}
			}
		},
	}
	c.Flags().StringVar(&q.Duration, "duration", "", "the last so much, such as 30m")
	c.Flags().StringVar(&start, "start", "", "or from then on: Unix milliseconds, or RFC 3339")
	c.Flags().StringVar(&end, "end", "", "until then; now by default")
	c.Flags().StringSliceVar(&q.Nodes, "node", nil, "only what this node captured; may be given several times")
	c.Flags().BoolVar(&leave, "no-wait", false, "do not wait until it is there")
	return c
}

// either prints an answer as JSON, or a line for people.
func (r *root) either(a any, line string, args ...any) error {
	if !r.text() {
		return r.json(a)
	}
	_, err := fmt.Fprintf(r.out, line, args...)
	return err
}

func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// moment reads a time in Unix milliseconds; "" is 0.
func moment(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, control.Usagef("such as 1790000000000 or 2026-09-21T14:23:00Z", fmt.Sprintf("time %q is none", text))
	}
	return t.UnixMilli(), nil
}

func snapshotExport(r *root) *cobra.Command {
	var (
		p           query.PacketSelection
		start, end  string
		connections []uint64
	)
	c := &cobra.Command{
		Use: "export ID [FILE]", Short: "One PCAPNG file of a snapshot, with names inside; secrets masked unless --raw", Args: cobra.RangeArgs(1, 2),
		Long: "Without FILE it is written to .devloop/exports. A filter (--bpf) is understood as docs/snapshots.md says.",
		Example: "  devloop snapshot export i12 i12.pcapng && tshark -r i12.pcapng\n" +
			"  devloop snapshot export i12 --kfl 'http && status_code >= 500' --bpf 'tcp port 8080'",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if p.StartTime, err = moment(start); err == nil {
				p.EndTime, err = moment(end)
			}
			if err != nil {
				return err
			}
			if len(connections) > 0 || len(args) == 2 && p.KFL == "" {
				return r.exportHere(cmd.Context(), args, p, connections)
			}
			a, err := kept(cmd.Context(), r, control.ExportSnapshotPCAP, (*devloop.Session).ExportSnapshotPCAP, query.ExportPCAPRequest{ID: args[0], PacketSelection: p})
			if err != nil {
				return err
			}
			if a.Why != "" {
				r.say("%s", a.Why)
			}
			if len(args) == 2 {
				return moveExport(r, a, args[1], p.Overwrite)
			}
			return r.either(a, "%s  %d packets, sha256 %s\n", a.File, a.Packets, a.SHA256)
		},
	}
	c.Flags().BoolVar(&p.Raw, "raw", false, "packets as they were, secrets unmasked")
	c.Flags().VarP(connectionList{&connections}, "connection", "", "only this connection (conn_id); may be given several times")
	c.Flags().StringSliceVar(&p.Nodes, "node", nil, "only what this node captured; may be given several times")
	c.Flags().StringVar(&p.BPF, "bpf", "", "only packets that this capture filter selects, such as 'host 10.0.0.7 and tcp port 443'")
	c.Flags().StringVar(&p.KFL, "kfl", "", "only packets of connections that this filter selects, or that carried a call that it selects")
	c.Flags().StringVar(&start, "start", "", "only packets from then on: Unix milliseconds, or RFC 3339")
	c.Flags().StringVar(&end, "end", "", "only packets before then")
	c.Flags().StringVar(&p.Format, "format", "", "pcapng, or pcap: IP packets alone, without names")
	c.Flags().BoolVar(&p.Overwrite, "overwrite", false, "replace an existing file")
	return c
}

// moveExport puts an export where it was asked for.
func moveExport(r *root, a *query.PCAPAnswer, to string, overwrite bool) error {
	b, err := os.Open(a.File)
	if err != nil {
		return fmt.Errorf("open what was exported: %w", err)
	}
	defer func() { b.Close(); os.Remove(a.File) }()
	if to == "-" {
		_, err = io.Copy(r.out, b)
		return err
	}
	return writeNew(to, overwrite, func(w io.Writer) error { _, err := io.Copy(w, b); return err })
}

// writeNew writes a file of mode 0600 that was not there, unless it may be replaced.
func writeNew(path string, overwrite bool, write func(io.Writer) error) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if overwrite {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return control.Usagef("--overwrite replaces it", fmt.Sprintf("there is a file %s already", path))
	}
	if err != nil {
		return &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// exportHere writes a file anywhere, as whoever types it may.
func (r *root) exportHere(ctx context.Context, args []string, p query.PacketSelection, connections []uint64) error {
	if len(args) < 2 {
		return control.Usagef("devloop snapshot export ID FILE --connection N", "where to? --connection needs a FILE")
	}
	o, err := devloop.ExportOptions(p)
	if err != nil {
		return err
	}
	return r.withSnapshot(args[0], func(sn *store.Snapshot) error {
		if err := selectConnections(sn, connections, &o); err != nil {
			return err
		}
		if args[1] == "-" {
			_, err := sn.Export(ctx, r.out, o)
			return err
		}
		return writeNew(args[1], p.Overwrite, func(w io.Writer) error { _, err := sn.Export(ctx, w, o); return err })
	})
}

func snapshotDissect(r *root) *cobra.Command {
	var q query.StartDissectionRequest
	var leave bool
	c := &cobra.Command{
		Use: "dissect ID", Short: "Dissect a snapshot; other verbs take ID/NAME as --db then", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Snapshot = args[0]
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			d, err := control.StartDissection.Ask(ctx, c, q, nil)
			if err != nil {
				return err
			}
			id := d.ID
			for d.Active && !leave {
				if err := pauseFor(ctx, pollEvery); err != nil {
					return err
				}
				if d, err = control.GetDissectionJob.Ask(ctx, c, query.DissectionRequest{ID: id}, nil); err != nil {
					return err
				}
			}
			if !d.Active && d.Status != "completed" {
				return &control.Error{What: fmt.Sprintf("dissection %s is %s: %s", id, d.Status, strings.Join(d.Errors, "; ")), Hint: "devloop snapshot dissections", Exit: control.ExitEnvironment}
			}
			return r.either(d, "%s  %s, %d calls of %d packets\n", d.ID, d.Status, d.Stats.Entries, d.Stats.Packets)
		},
	}
	c.Flags().StringVar(&q.Name, "name", "", "of the dissection; made up by default")
	c.Flags().BoolVar(&leave, "no-wait", false, "do not wait until it is there")
	return c
}

func snapshotDissections(r *root) *cobra.Command {
	var stop, remove string
	c := &cobra.Command{
		Use: "dissections [ID]", Short: "Dissections of snapshots, newest first, with those that wait or run", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case stop != "":
				d, err := kept(cmd.Context(), r, control.StopDissection, (*devloop.Session).StopDissection, query.DissectionRequest{ID: stop})
				if err != nil {
					return err
				}
				return r.either(d, "%s is %s\n", d.ID, d.Status)
			case remove != "":
				_, err := kept(cmd.Context(), r, control.DeleteDissection, (*devloop.Session).DeleteDissection, query.DissectionRequest{ID: remove})
				return err
			}
			var q query.DissectionsRequest
			if len(args) > 0 {
				q.Snapshot = args[0]
			}
			a, err := kept(cmd.Context(), r, control.ListDissections, (*devloop.Session).ListDissections, q)
			if err != nil {
				return err
			}
			if !r.text() {
				return r.json(a)
			}
			t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "DB\tSTATUS\tPROGRESS\tCALLS\tPACKETS\tERRORS")
			for _, d := range a.Dissections {
				fmt.Fprintf(t, "%s\t%s\t%d %%\t%d\t%d\t%s\n", d.ID, d.Status, d.Progress, d.Stats.Entries, d.Stats.Packets, strings.Join(d.Errors, "; "))
			}
			return t.Flush()
		},
	}
	c.Flags().StringVar(&stop, "stop", "", "stop this one, as ID/NAME")
	c.Flags().StringVar(&remove, "delete", "", "delete this one, as ID/NAME")
	return c
}

func (r *root) openStore() (*store.Store, error) {
	workspace, err := r.findWorkspace()
	if err != nil {
		return nil, err
	}
	return store.Open(filepath.Join(workspace, ".devloop"), store.Options{})
}

func (r *root) withSnapshot(id string, do func(*store.Snapshot) error) error {
	st, err := r.openStore()
	if err != nil {
		return err
	}
	sn, err := st.Snapshot(id)
	if err != nil {
		return &control.Error{What: err.Error(), Hint: "devloop snapshot list", Exit: control.ExitUsage}
	}
	return errors.Join(do(sn), sn.Close())
}

// selectConnections narrows an export to connections of the snapshot's dissection.
func selectConnections(sn *store.Snapshot, ids []uint64, o *store.ExportOptions) error {
	if len(ids) == 0 {
		return nil
	}
	d, err := sn.ReadDissection()
	if err != nil {
		return err
	}
	for _, c := range d.Connections {
		if slices.Contains(ids, c.ID) {
			o.Select = append(o.Select, store.SelectConnection(c))
		}
	}
	if len(o.Select) < len(ids) {
		return control.Usagef("devloop flows --connections lists them", "the snapshot does not have all of these connections")
	}
	return nil
}

func (r *root) listSnapshots(ctx context.Context) error {
	a, err := kept(ctx, r, control.ListSnapshots, (*devloop.Session).ListSnapshots, query.SnapshotsRequest{})
	if err != nil {
		return err
	}
	if !r.text() {
		return r.json(a)
	}
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tCREATED\tSTATUS\tWINDOW\tREVISION\tPACKETS\tSIZE\tEXERCISE\tDISSECTIONS")
	for _, sn := range a.Snapshots {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", sn.ID, time.UnixMilli(sn.Created).Format(time.RFC3339), sn.Status, sn.Duration, sn.Revision, sn.Packets, sn.Size,
			sn.Exercise, strings.Join(sn.Dissections, " "))
	}
	return t.Flush()
}

// printEvents writes the events of a snapshot, by their distance from the window's start.
func (r *root) printEvents(sn *store.Snapshot) error {
	if !r.text() {
		return r.json(append([]traffic.ClusterEvent{}, sn.Events...))
	}
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "AT\tKIND\tREASON\tWHAT")
	for i := range sn.Events {
		e := &sn.Events[i]
		fmt.Fprintf(t, "%+.1f s\t%s\t%s\t%s\n", float64(e.Time-sn.Window.Start)/1e9, e.Kind, harmless(e.Reason), harmless(e.String()))
	}
	return t.Flush()
}

// connectionList is a flag that may be given several times.
type connectionList struct{ ids *[]uint64 }

func (l connectionList) String() string { return "" }
func (l connectionList) Type() string   { return "conn_id" }

// Set adds one.
func (l connectionList) Set(text string) error {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("a conn_id is a number: %w", err)
	}
	*l.ids = append(*l.ids, id)
	return nil
}
