package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/dissect/protobuf"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/startheap"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// dissectVerb reads any capture file.
func dissectVerb(r *root) *cobra.Command {
	var connections, raw bool
	var kfl, keyLog string
	var protos []string
	c := &cobra.Command{
		Use:   "dissect FILE",
		Short: "The calls of any pcap or pcapng file, as a table, lines of JSON or Parquet",
		Long: `dissect reads a capture file (pcap or pcapng, also gzip or zstd; - is standard input) and writes a call a line, with the
fields of Kubeshark's format=full, or with --connections a connection a line with its tcp_metrics. At the end it says on
standard error what was read, decoded, lost and given up. Memory is bounded by the open connections, not by the file.
With -o parquet the rows have the columns of a snapshot's tables (docs/files.md).`,
		Example: "  devloop dissect x.pcapng -o jsonl\n  tcpdump -i any -w - | devloop dissect - -o jsonl\n  devloop dissect x.pcapng -o parquet > calls.parquet",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			f, err := filter.Compile(kfl)
			if err != nil {
				return &control.Error{What: err.Error(), Hint: "devloop kfl fields", Exit: control.ExitUsage}
			}
			lazyCollection(r.output)
			out := bufio.NewWriterSize(r.out, 1<<16)
			o := store.FileOptions{}
			if !raw {
				o.Redactor = redact.New(key(), redact.Options{})
			}
			rows := &rowWriter{filter: f, connections: connections}
			finish := func() error { return nil }
			switch r.output {
			case "jsonl", "json":
				e := json.NewEncoder(out)
				e.SetEscapeHTML(false)
				rows.write = e.Encode
			case "parquet":
				rows.write, finish = parquetRows(out, connections, o.Redactor)
				rows.whole = true
			default:
				rows.write = table(out, connections)
			}
			defer r.progress(rows)()
			o.Dissect.Quotes = true // what Wireshark shows, too; no check sees it
			if keyLog != "" {
				if o.KeyLog, err = os.ReadFile(keyLog); err != nil {
					return &control.Error{What: "read key log: " + err.Error(), Hint: "the file that SSLKEYLOGFILE named", Exit: control.ExitUsage}
				}
			}
			if len(protos) > 0 {
				if o.Dissect.Types, err = protobuf.Load(ctx, protos...); err != nil {
					return &control.Error{What: err.Error(), Hint: "a .proto file, a folder of them, or protoc --include_imports --descriptor_set_out=FILE", Exit: control.ExitUsage}
				}
			}
			o.Dissect.OnCall, o.Dissect.OnConnection = rows.call, rows.connection
			account, err := store.StreamFile(ctx, args[0], os.Stdin, o)
			err = errors.Join(err, rows.err, finish())
			if err == nil || rows.written.Load() > 0 { // of what is no capture, nothing comes out
				err = errors.Join(err, out.Flush())
			}
			if err != nil {
				return badCapture(ctx, err)
			}
			if !r.quiet {
				printAccount(r.err, &account)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&connections, "connections", false, "connections with their TCP metrics instead of calls")
	c.Flags().StringVar(&kfl, "kfl", "", "only rows that this filter selects")
	c.Flags().StringSliceVar(&protos, "proto", nil, "describe gRPC messages by .proto files, folders of them, or descriptor sets")
	c.Flags().BoolVar(&raw, "raw", false, "secrets as they were sent")
	c.Flags().StringVar(&keyLog, "keylog", "", "open TLS with this key log (SSLKEYLOGFILE); those in the capture file are used anyway")
	return c
}

// lazyCollection trades memory for time: rows are garbage as soon as they are written, and little stays, so collecting
// when four times of that is there saves CPU time for some 20 MB. Where much stays, above 1 GiB, the limit makes
// the collector thrifty again. Of Parquet a row group stays, some 10 MB, and of each that was written
// where its columns lie: 2 MB after 10 GB of packets. GOGC and GOMEMLIMIT of the user win.
func lazyCollection(output string) {
	percent := 400
	if output == "parquet" {
		percent = 80
	}
	if os.Getenv("GOGC") == "" {
		startheap.End()
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30)
	}
}

// key makes the hashes of one run comparable with each other and with nothing else.
func key() []byte {
	k := make([]byte, 32)
	_, _ = rand.Read(k) // crypto/rand.Read never fails
	return k
}

// rowWriter passes the selected rows on and keeps the first error.
type rowWriter struct {
	filter      *filter.Filter
	connections bool
	whole       bool // write wants calls as they are, not their JSON form
	write       func(any) error
	written     atomic.Int64
	err         error
}

func (w *rowWriter) call(c *traffic.Call) {
	if !w.connections && w.selects(&filter.Row{Call: c}) {
		if w.whole {
			w.row(c)
			return
		}
		w.row(c.Full())
	}
}

func (w *rowWriter) connection(c *traffic.Connection) {
	if w.connections && w.selects(&filter.Row{Conn: c}) {
		w.row(c)
	}
}

func (w *rowWriter) selects(row *filter.Row) bool {
	ok, err := w.filter.Match(row)
	if err != nil && w.err == nil {
		w.err = err
	}
	return ok
}

func (w *rowWriter) row(v any) {
	w.written.Add(1)
	if err := w.write(v); err != nil && w.err == nil {
		w.err = fmt.Errorf("write a row: %w", err)
	}
}

// parquetRows writes rows as Parquet while they come, which redactor has redacted unless it is nil. finish writes the end of the file, which holds its
// schema.
func parquetRows(out io.Writer, connections bool, redactor *redact.Redactor) (write func(any) error, finish func() error) {
	if connections {
		w := store.NewConnectionWriter(unclosed{out})
		return func(v any) error { return w.Write(v.(*traffic.Connection)) }, w.Close
	}
	w := store.NewCallWriter(unclosed{out})
	if redactor != nil {
		w.Shares(redactor)
	}
	return func(v any) error { return w.Write(v.(*traffic.Call)) }, w.Close
}

// unclosed keeps standard output open.
type unclosed struct{ io.Writer }

// Close does nothing.
func (unclosed) Close() error { return nil }

// progress says every second how far it is, to people at a terminal.
func (r *root) progress(rows *rowWriter) (stop func()) {
	f, ok := r.err.(*os.File)
	if !ok || r.quiet {
		return func() {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.say("… %d rows", rows.written.Load())
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// table writes rows in columns of fixed width: a stream has no end to measure columns by.
func table(out io.Writer, connections bool) func(any) error {
	header := fmt.Sprintf("%-24s %-22s %-22s %-5s %-8s %-40s %6s %10s %s\n", "ID", "SRC", "DST", "PROTO", "METHOD", "PATH", "STATUS", "LATENCY", "STATE")
	if connections {
		header = fmt.Sprintf("%-17s %-24s %-24s %-8s %-12s %6s %10s\n", "CONN", "SRC", "DST", "L7", "STATE", "CALLS", "BYTES")
	}
	return func(v any) error {
		_, err := io.WriteString(out, header)
		header = "" // what is no capture has no heading either
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case traffic.FullCall:
			_, err = fmt.Fprintf(out, "%-24s %-22s %-22s %-5s %-8s %-40s %6d %7.1f ms %s %s\n", v.ID, end(v.Src), end(v.Dst), v.Proto, printable(v.Method), printable(v.Path), v.Status, v.Latency, v.State, v.Error)
		case *traffic.Connection:
			_, err = fmt.Fprintf(out, "%-17d %-24s %-24s %-8s %-12s %6d %10d\n", v.ID, v.Src.Addr(), v.Dst.Addr(), v.L7, v.State, v.Calls, v.ClientBytes+v.ServerBytes)
		}
		return err
	}
}

// printAccount says what became of every packet and byte.
func printAccount(w io.Writer, a *traffic.Account) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "packets\t%d read, %d of TCP or UDP, %d lost by the capture\n", a.Packets, a.Decoded, a.Dropped)
	for _, reason := range slices.Sorted(maps.Keys(a.Ignored)) {
		fmt.Fprintf(t, "ignored\t%d packets: %s\n", a.Ignored[reason], reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(a.Malformed)) {
		fmt.Fprintf(t, "malformed\t%d packets: %s\n", a.Malformed[reason], reason)
	}
	fmt.Fprintf(t, "bytes\t%d missing from streams, %d not decoded\n", a.Missing, a.Undecoded)
	for _, reason := range slices.Sorted(maps.Keys(a.GivenUp)) {
		fmt.Fprintf(t, "given up\t%d bytes: %s\n", a.GivenUp[reason], reason)
	}
	if a.Joined > 0 || a.OnePoint > 0 {
		fmt.Fprintf(t, "points\t%d connections captured at one end only, %d joined behind address translation\n", a.OnePoint, a.Joined)
	}
	if a.FileTruncated {
		fmt.Fprintln(t, "file\tends inside a record")
	}
	_ = t.Flush() // as any print to the terminal
}
