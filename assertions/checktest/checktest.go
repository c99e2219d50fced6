package checktest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// File is a *.netcheck_test.yaml.
type File struct {
	Checks string `yaml:"checks"` // file of the checks, relative to this one; by default the one of the same name
	Cases  []Case `yaml:"cases"`
}

// Case is one window of traffic and what the checks must say of it.
type Case struct {
	Name        string               `yaml:"name"`
	Calls       []example.Call       `yaml:"calls"`
	Connections []example.Connection `yaml:"connections"`
	Dropped     uint64               `yaml:"dropped"` // packets that the capture lost
	Want        map[string]string    `yaml:"want"`    // name of a check, or name [group] → verdict
	line        int
}

// Result is how a case went.
type Result struct {
	Case     string
	Line     int
	Failures []string // empty: it passed
}

const (
	maxFile  = 4 << 20
	maxCalls = 100_000 // of a case, repeats counted
)

var verdicts = []traffic.Verdict{traffic.Pass, traffic.Fail, traffic.Inconclusive, traffic.NoData, traffic.Error, traffic.Skipped}

// Run runs the cases of a file. An error is a mistake in it or in the checks, with its place.
func Run(path string) ([]Result, error) {
	f, err := load(path)
	if err != nil {
		return nil, err
	}
	suite, err := assertions.Load([]string{f.Checks})
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(path) // files that checks name lie below the workspace
	if found, err := config.Find(folder); err == nil {
		folder = filepath.Dir(found)
	}
	var results []Result
	for _, c := range f.Cases {
		if unknown := c.unknown(suite); unknown != "" {
			return nil, config.Errors{{File: path, Line: c.line, Column: 1, Msg: fmt.Sprintf("%s has no check %q", f.Checks, unknown),
				Hint: hint(config.Suggest(unknown, suite.Names()))}}
		}
		results = append(results, Result{Case: c.Name, Line: c.line, Failures: c.run(suite, folder)})
	}
	return results, nil
}

func hint(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", name)
}

// group is what follows a check's name where it judges by groups.
var group = regexp.MustCompile(` \[.*\]$`)

func (c *Case) unknown(suite *assertions.Suite) string {
	names := suite.Names()
	for name := range c.Want {
		if !slices.Contains(names, name) && !slices.Contains(names, group.ReplaceAllString(name, "")) {
			return name
		}
	}
	return ""
}

// run judges the calls of a case and compares.
func (c *Case) run(suite *assertions.Suite, folder string) (failures []string) {
	d := example.Dissection(c.Calls, c.Connections)
	d.Account.Dropped = c.Dropped
	results := suite.Check(assertions.Input{Dissection: d, Folder: folder}, assertions.CheckOptions{NoBuiltin: true})
	got := map[string]*traffic.CheckResult{}
	for i := range results {
		r := &results[i]
		name := r.Name
		if r.Group != "" {
			name += " [" + r.Group + "]"
		}
		got[name] = r
	}
	names := make([]string, 0, len(c.Want))
	for name := range c.Want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := got[name]
		switch {
		case r == nil:
			var groups []string
			for have := range got {
				groups = append(groups, have)
			}
			slices.Sort(groups)
			failures = append(failures, fmt.Sprintf("%s: there is no such group; the results are %s", name, strings.Join(groups, ", ")))
		case string(r.Verdict) != c.Want[name]:
			failures = append(failures, fmt.Sprintf("%s: %s, want %s: %s", name, r.Verdict, c.Want[name], r.Reason))
		}
	}
	return failures
}

// load reads a file and finds its mistakes.
func load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the tests: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a regular file of at most %d MiB", path, maxFile>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the tests: %w", err)
	}
	f, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	f.Checks = filepath.Join(filepath.Dir(path), filepath.FromSlash(cmp.Or(f.Checks, strings.Replace(filepath.Base(path), ".netcheck_test.", ".netcheck.", 1))))
	return f, nil
}

// Parse reads the text of a file; path is the name that mistakes are told with.
func Parse(path string, data []byte) (*File, error) {
	var f File
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil {
		return nil, mistakes(path, data, err)
	}
	lines := caseLines(data)
	for i := range f.Cases {
		c := &f.Cases[i]
		if i < len(lines) {
			c.line = lines[i]
		}
		if msg, hint := c.mistake(); msg != "" {
			return nil, config.Errors{{File: path, Line: c.line, Column: 1, Msg: msg, Hint: hint}}
		}
	}
	if len(f.Cases) == 0 {
		return nil, config.Errors{{File: path, Line: 1, Column: 1, Msg: "the file has no cases", Hint: "begin with cases: and - name, calls, want"}}
	}
	return &f, nil
}

func (c *Case) mistake() (msg, hint string) {
	n := 0
	for _, call := range c.Calls {
		if call.Repeat < 0 || call.Repeat > maxCalls {
			return fmt.Sprintf("repeat is %d", call.Repeat), fmt.Sprintf("a case has at most %d calls", maxCalls)
		}
		if n += max(1, call.Repeat); n > maxCalls {
			return "the case has too many calls", fmt.Sprintf("at most %d, repeats counted", maxCalls)
		}
	}
	switch {
	case c.Name == "":
		return "the case has no name", "for example name: one 503 is one too many"
	case len(c.Want) == 0:
		return "the case wants nothing", "for example want: {checkout never answers 5xx: fail}"
	}
	for name, verdict := range c.Want {
		if !slices.Contains(verdicts, traffic.Verdict(verdict)) {
			return fmt.Sprintf("%q of %q is no verdict", verdict, name), "pass, fail, inconclusive, nodata, error or skipped"
		}
	}
	return "", ""
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// mistakes turns what YAML says into our form.
func mistakes(path string, data []byte, err error) error {
	if errors.Is(err, io.EOF) {
		return config.Errors{{File: path, Line: 1, Column: 1, Msg: "the file is empty", Hint: "begin with cases: and - name, calls, want"}}
	}
	source := strings.Split(string(data), "\n")
	texts := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	var several *yaml.TypeError
	if errors.As(err, &several) {
		texts = several.Errors
	}
	var all config.Errors
	for _, text := range texts {
		line := 1
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = strings.Replace(text, m[0], "", 1)
		}
		e := &config.Error{File: path, Line: line, Column: 1, Msg: text}
		if line <= len(source) {
			e.Source = source[line-1]
			e.Column = len(e.Source) - len(strings.TrimLeft(e.Source, " -")) + 1
		}
		all = append(all, e)
	}
	return all
}

// caseLines are the lines at which the cases begin.
func caseLines(data []byte) (lines []int) {
	var n yaml.Node
	if yaml.Unmarshal(data, &n) != nil || len(n.Content) == 0 {
		return nil
	}
	top := n.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == "cases" {
			for _, c := range top.Content[i+1].Content {
				lines = append(lines, c.Line)
			}
		}
	}
	return lines
}
