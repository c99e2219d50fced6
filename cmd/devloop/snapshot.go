package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// snapshotVerb looks at sealed packets. It reads the workspace's folder and needs no daemon.
func snapshotVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "Sealed packets: list, get, events, verify, export, delete"}
	var (
		raw         bool
		connections []uint64
	)
	export := &cobra.Command{
		Use: "export ID FILE", Short: "One PCAPNG file of a snapshot, with names inside; secrets masked unless --raw", Args: cobra.ExactArgs(2),
		Example: "  devloop snapshot export i12 i12.pcapng && tshark -r i12.pcapng",
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withSnapshot(args[0], func(sn *store.Snapshot) error {
				o := store.ExportOptions{Raw: raw}
				if err := selectConnections(sn, connections, &o); err != nil {
					return err
				}
				if args[1] == "-" {
					_, err := sn.Export(cmd.Context(), r.out, o)
					return err
				}
				return sn.ExportTo(cmd.Context(), args[1], o)
			})
		},
	}
	export.Flags().BoolVar(&raw, "raw", false, "packets as they were, secrets unmasked")
	export.Flags().VarP(connectionList{&connections}, "connection", "", "only this connection (conn_id); may be given several times")
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "The snapshots, newest first", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return r.listSnapshots() }},
		&cobra.Command{Use: "get ID", Short: "What a snapshot holds", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return r.withSnapshot(args[0], func(sn *store.Snapshot) error { r.output = "json"; return r.json(sn.Window) })
		}},
		&cobra.Command{Use: "events ID", Short: "What happened in the cluster meanwhile: restarts, failing probes, rollouts", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return r.withSnapshot(args[0], r.printEvents)
		}},
		&cobra.Command{Use: "verify ID", Short: "Compare every byte with the digests", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return r.withSnapshot(args[0], func(sn *store.Snapshot) error { return sn.Verify(cmd.Context()) })
		}},
		&cobra.Command{Use: "delete ID", Short: "Delete a snapshot", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			st, err := r.openStore()
			if err != nil {
				return err
			}
			switch err := st.Delete(args[0]); {
			case errors.Is(err, store.ErrInUse):
				return &control.Error{What: err.Error(), Hint: "try again when the iteration has ended", Exit: control.ExitEnvironment}
			case err != nil:
				return &control.Error{What: err.Error(), Hint: "devloop snapshot list", Exit: control.ExitUsage}
			}
			return nil
		}},
		export,
	)
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

func (r *root) listSnapshots() error {
	st, err := r.openStore()
	if err != nil {
		return err
	}
	list, err := st.List()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b store.Info) int { return int((b.Created - a.Created) / int64(time.Millisecond)) })
	if !r.text() {
		return r.json(list)
	}
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tCREATED\tREVISION\tPACKETS\tSIZE\tEXERCISE")
	for _, sn := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n", sn.ID, time.Unix(0, sn.Created).Format(time.RFC3339), sn.Revision, sn.Packets, sn.Size, sn.Exercise)
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
