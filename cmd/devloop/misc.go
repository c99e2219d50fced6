package main

import (
	"fmt"
	"iter"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// kflVerb explains the filter language.
func kflVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "kfl", Short: "The filter language: explain a filter, list the fields"}
	var pcap string
	explain := &cobra.Command{
		Use: "explain KFL", Short: "How a filter is read: rewriting, types, fields, and what it would select", Args: cobra.ExactArgs(1),
		Long: `explain shows a filter as it is read: the older spellings rewritten, which rows it selects, the fields with their types, which
columns of stored calls can answer it and what has to be asked row by row, and warnings, such as a condition that is always true. With
--pcap it is tried on the calls and connections of a capture file: how many it selects, and which names in it no row has.`,
		Example: "  devloop kfl explain 'http and response.status == 500'\n  devloop kfl explain --pcap x.pcapng 'dst.service.name == \"paymnt\"'",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := filter.Compile(args[0])
			if err != nil {
				return &control.Error{What: err.Error(), Hint: "devloop kfl fields lists what a filter can ask for", Exit: control.ExitUsage}
			}
			e := f.Explain()
			if pcap != "" {
				ctx, cancel := r.bounded(cmd.Context())
				defer cancel()
				d, err := dissectAll(ctx, pcap)
				if err != nil {
					return err
				}
				e.Try(f, filterRows(d))
			}
			if !r.text() {
				return r.json(e)
			}
			fmt.Fprintln(r.out, e)
			return nil
		},
	}
	explain.Flags().StringVar(&pcap, "pcap", "", "a capture file to try it on")
	c.AddCommand(explain, &cobra.Command{
		Use: "fields", Short: "The fields, with types and units", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprint(r.out, filter.Doc())
			return nil
		},
	})
	return c
}

// filterRows are the rows of a dissection, as filters judge them.
func filterRows(d *traffic.Dissection) iter.Seq[*filter.Row] {
	conns := make(map[uint64]*traffic.Connection, len(d.Connections))
	for _, c := range d.Connections {
		conns[c.ID] = c
	}
	return func(yield func(*filter.Row) bool) {
		for _, c := range d.Calls {
			if !yield(&filter.Row{Call: c, Conn: conns[c.ConnID]}) {
				return
			}
		}
		for _, c := range d.Connections {
			if !yield(&filter.Row{Conn: c}) {
				return
			}
		}
	}
}

// configVerb shows devloop.yaml as it is read, and its schema.
func configVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "devloop.yaml: as it is read, and its JSON Schema"}
	var origin bool
	view := &cobra.Command{
		Use: "view", Short: "devloop.yaml with its defaults", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			workspace, err := r.findWorkspace()
			if err != nil {
				return err
			}
			if origin {
				return r.origins(workspace)
			}
			cfg, err := config.Load(workspace)
			if err != nil {
				return &control.Error{What: err.Error(), Exit: control.ExitUsage}
			}
			if !r.text() {
				return r.json(cfg)
			}
			return yaml.NewEncoder(r.out).Encode(cfg)
		},
	}
	view.Flags().BoolVar(&origin, "origin", false, "each setting with the place that it comes from")
	c.AddCommand(view, &cobra.Command{
		Use: "schema", Short: "The JSON Schema of devloop.yaml", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := r.out.Write(config.Schema())
			return err
		},
	})
	return c
}

// origins lists the settings with their places.
func (r *root) origins(workspace string) error {
	list, err := config.Origins(workspace)
	if err != nil {
		return &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	if !r.text() {
		return r.json(list)
	}
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	for _, o := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", o.Path, printable(o.Value), o.From)
	}
	return t.Flush()
}

// versionVerb says which build this is.
func versionVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Which build of devloop this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !r.text() {
				return r.json(map[string]string{"version": buildinfo.Version(), "commit": buildinfo.Commit(), "platform": buildinfo.Platform()})
			}
			fmt.Fprintln(r.out, "devloop", buildinfo.Version(), buildinfo.Platform(), buildinfo.Commit())
			return nil
		},
	}
}
