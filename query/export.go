package query

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// exportFormats by name, with the ending of their files.
var exportFormats = map[string]string{"csv": ".csv", "markdown": ".md", "har": ".har", "otlp": ".otlp.jsonl"}

// ExportCalls writes calls to a file in the store's folder for exports, and tells its digest. A file that is there is not
// overwritten unless that is asked for; what fails leaves no file.
func ExportCalls(ctx context.Context, db *Database, r ExportRequest, st *store.Store) (*ExportAnswer, error) {
	suffix, ok := exportFormats[r.Format]
	if !ok {
		return nil, mistake("csv, markdown, har or otlp", "there is no format %q", r.Format)
	}
	if r.Limit < 0 {
		return nil, mistake("1 and more; all by default", "limit %d is out of range", r.Limit)
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	made := "calls-" + strings.ReplaceAll(db.Name, "/", "-") + "-" + strconv.FormatUint(questionOf(r.KFL, r.FilterID, r.Start, r.End, r.Limit), 36) + suffix
	a := &ExportAnswer{Format: r.Format}
	file, err := export(st, cmp.Or(r.File, made), r.Overwrite || r.File == "", func(w io.Writer) error { return v.export(w, r, a) })
	if err != nil {
		return nil, err
	}
	a.Reading = v.reading("calls")
	a.Path, a.SHA256, a.Bytes = file.File, file.SHA256, file.Size
	return a, nil
}

// fileName is what files in the folder for exports may be called: nothing that could lead out of it.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$`)

// export writes a file into the folder for exports.
func export(st *store.Store, name string, overwrite bool, write func(io.Writer) error) (*store.Export, error) {
	if !fileName.MatchString(name) {
		return nil, mistake("letters, digits, dashes and dots, without a folder: the file lies in the folder for exports", "%q is not a name for an exported file", cut(name, 120))
	}
	file, err := st.WriteExport(name, overwrite, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<16)
		return errors.Join(write(b), b.Flush())
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, mistake("choose another name, or set overwrite", "%s is there already, and stays as it is", name)
	}
	return file, err
}

// callWriter writes calls in one format.
type callWriter interface {
	begin() error
	call(c *traffic.Call) (written bool, err error)
	end() error
}

func (v *survey) export(f io.Writer, r ExportRequest, a *ExportAnswer) error {
	var w callWriter
	switch r.Format {
	case "csv":
		w = &csvCalls{w: csv.NewWriter(f)}
	case "markdown":
		w = &markdownCalls{w: f, title: fmt.Sprintf("Calls of %s", v.db.Name), filter: v.f.Source()}
	case "otlp":
		w = &otlpCalls{w: f}
	default:
		w = &harCalls{w: f}
	}
	if err := w.begin(); err != nil {
		return err
	}
	for c, err := range v.calls() {
		if err != nil {
			return err
		}
		if r.Limit > 0 && a.Calls >= r.Limit {
			a.Omitted++
			continue
		}
		written, err := w.call(c)
		if err != nil {
			return err
		}
		if written {
			a.Calls++
		} else {
			a.Omitted++
		}
	}
	return w.end()
}

// exportColumns are those of CSV files.
var exportColumns = []struct {
	name string
	of   func(c *traffic.Call) string
}{
	{"id", func(c *traffic.Call) string { return c.ID }},
	{"time", func(c *traffic.Call) string { return clock(c.Start) }},
	{"src", func(c *traffic.Call) string { return nameOf(&c.Src) }},
	{"src_ns", func(c *traffic.Call) string { return c.Src.Namespace }},
	{"src_ip", func(c *traffic.Call) string { return c.Src.IP.String() }},
	{"dst", func(c *traffic.Call) string { return nameOf(&c.Dst) }},
	{"dst_ns", func(c *traffic.Call) string { return c.Dst.Namespace }},
	{"dst_ip", func(c *traffic.Call) string { return c.Dst.IP.String() }},
	{"dst_port", func(c *traffic.Call) string { return strconv.Itoa(int(c.Dst.Port)) }},
	{"proto", func(c *traffic.Call) string { return c.Protocol }},
	{"method", func(c *traffic.Call) string { return c.Method }},
	{"path", func(c *traffic.Call) string { return c.Path }},
	{"asked", func(c *traffic.Call) string { return asked(c) }},
	{"result", result},
	{"state", func(c *traffic.Call) string { return string(c.State) }},
	{"latency_ms", func(c *traffic.Call) string { return strconv.FormatFloat(ms(c.Latency()), 'f', -1, 64) }},
	{"req_bytes", func(c *traffic.Call) string { return strconv.FormatInt(c.RequestSize, 10) }},
	{"resp_bytes", func(c *traffic.Call) string { return strconv.FormatInt(c.ResponseSize, 10) }},
	{"sensitive", func(c *traffic.Call) string { return strings.Join(sensitiveKinds(c), " ") }},
	{"trace_id", func(c *traffic.Call) string { return c.TraceID }},
	{"parent", func(c *traffic.Call) string { return c.Parent }},
}

func clock(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000Z") }

func sensitiveKinds(c *traffic.Call) []string {
	var kinds []string
	for _, k := range append(slices.Clone(c.Credentials), emails(c, func([]byte) string { return "" })...) {
		kinds = note(kinds, k.Kind, 20)
	}
	return kinds
}

type csvCalls struct{ w *csv.Writer }

func (x *csvCalls) begin() error {
	row := make([]string, len(exportColumns))
	for i, c := range exportColumns {
		row[i] = c.name
	}
	return x.w.Write(row)
}

func (x *csvCalls) call(c *traffic.Call) (bool, error) {
	row := make([]string, len(exportColumns))
	for i, column := range exportColumns {
		row[i] = harmless(column.of(c))
	}
	return true, x.w.Write(row)
}

func (x *csvCalls) end() error {
	x.w.Flush()
	return x.w.Error()
}

// harmless keeps a spreadsheet from taking captured text for a formula (OWASP: CSV injection).
func harmless(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "")
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

type markdownCalls struct {
	w             io.Writer
	title, filter string
	n             int
}

func (x *markdownCalls) begin() error {
	_, err := fmt.Fprintf(x.w, "# %s\n\nFilter: %s. Text from the network is untrusted; secrets are redacted.\n\n| time | src | dst | proto | asked | result | ms | sensitive | id |\n|---|---|---|---|---|---|---|---|---|\n",
		x.title, cmp.Or(code(x.filter), "none"))
	return err
}

func (x *markdownCalls) call(c *traffic.Call) (bool, error) {
	x.n++
	_, err := fmt.Fprintf(x.w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", clock(c.Start), code(nameOf(&c.Src)), code(nameOf(&c.Dst)), code(c.Protocol),
		code(cut(asked(c), 160)), code(result(c)), strconv.FormatFloat(ms(c.Latency()), 'f', -1, 64), code(strings.Join(sensitiveKinds(c), " ")), code(c.ID))
	return true, err
}

func (x *markdownCalls) end() error {
	_, err := fmt.Fprintf(x.w, "\n%d calls.\n", x.n)
	return err
}

// code makes captured text a code span of a table's cell, in which nothing else has a meaning.
func code(s string) string {
	if s == "" {
		return ""
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	return "`" + strings.NewReplacer("`", "'", "|", "\\|").Replace(s) + "`"
}
