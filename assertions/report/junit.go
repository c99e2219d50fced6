package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/devloop-io/devloop/traffic"
)

// The elements of JUnit's XML as Jenkins, GitLab and GitHub's reporters read them.
type (
	xmlSuites struct {
		XMLName  xml.Name   `xml:"testsuites"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Time     string     `xml:"time,attr"`
		Suites   []xmlSuite `xml:"testsuite"`
	}
	xmlSuite struct {
		Name       string        `xml:"name,attr"`
		Tests      int           `xml:"tests,attr"`
		Failures   int           `xml:"failures,attr"`
		Errors     int           `xml:"errors,attr"`
		Skipped    int           `xml:"skipped,attr"`
		Time       string        `xml:"time,attr"`
		Timestamp  string        `xml:"timestamp,attr,omitempty"`
		Properties []xmlProperty `xml:"properties>property,omitempty"`
		Cases      []xmlCase     `xml:"testcase"`
	}
	xmlProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	xmlCase struct {
		Name      string     `xml:"name,attr"`
		Class     string     `xml:"classname,attr"`
		File      string     `xml:"file,attr,omitempty"`
		Line      int        `xml:"line,attr,omitempty"`
		Time      string     `xml:"time,attr"`
		Failure   *xmlResult `xml:"failure"`
		Error     *xmlResult `xml:"error"`
		Skipped   *xmlResult `xml:"skipped"`
		SystemOut string     `xml:"system-out,omitempty"`
	}
	xmlResult struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// junit writes a test case for each result, and a suite for each file of checks.
func junit(w io.Writer, r *Report) error {
	it := r.Iteration
	all := xmlSuites{Name: "devloop " + it.ID, Time: seconds(it)}
	suites := map[string]int{}
	for _, c := range r.told() {
		file := "built-in checks"
		if !c.Builtin {
			file = c.File
		}
		i, ok := suites[file]
		if !ok {
			i = len(all.Suites)
			suites[file] = i
			all.Suites = append(all.Suites, xmlSuite{Name: file, Time: "0", Timestamp: stamp(it.Started), Properties: properties(it)})
		}
		all.Suites[i].add(r.testCase(c))
	}
	if text := failure(it); text != "" {
		s := xmlSuite{Name: "devloop", Time: seconds(it), Timestamp: stamp(it.Started), Properties: properties(it)}
		s.add(xmlCase{Name: it.Failure.Phase, Class: "devloop", Time: "0", Error: &xmlResult{printable(it.Failure.What), "environment", printable(text)}})
		all.Suites = append(all.Suites, s)
	}
	for _, s := range all.Suites {
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *xmlSuite) add(c xmlCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

// testCase is one result. What could not be decided is a failure where it gates, else skipped: never a plain pass.
func (r *Report) testCase(c *traffic.CheckResult) xmlCase {
	x := xmlCase{Name: printable(title(c)), Class: printable(class(c)), File: r.path(c.File), Line: c.Line, Time: "0"}
	result := &xmlResult{printable(c.Reason), string(c.Verdict), printable(details(c))}
	switch {
	case c.Verdict == traffic.Pass:
		x.SystemOut = printable(details(c))
	case c.Verdict == traffic.Error && r.gates(c):
		x.Error = result
	case r.gates(c):
		x.Failure = result
	default:
		x.Skipped = result
	}
	return x
}

// class is what groups test cases: their file.
func class(c *traffic.CheckResult) string {
	if c.Builtin {
		return "builtin"
	}
	return strings.TrimSuffix(c.File, ".netcheck.yaml")
}

func properties(it *traffic.Iteration) []xmlProperty {
	list := []xmlProperty{{"revision", it.Revision}, {"iteration", it.ID}, {"capture", it.Source}, {"verdict", string(it.Verdict)}}
	if it.Snapshot != "" {
		list = append(list, xmlProperty{"snapshot", it.Snapshot})
	}
	return list
}

func seconds(it *traffic.Iteration) string {
	if it.Ended < it.Started {
		return "0"
	}
	return fmt.Sprintf("%.3f", float64(it.Ended-it.Started)/1e9)
}

func stamp(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05")
}

// printable leaves out what no XML or terminal may have.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// plain is the iteration itself.
func plain(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r.Iteration)
}
