package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// matter are the headers of answers that clients act on.
var matter = []string{"Content-Type", "Location", "Cache-Control", "Etag", "Vary", "Www-Authenticate", "Allow", "Access-Control-Allow-Origin"}

// Finding is one way in which answers differ from what was recorded.
type Finding struct {
	Endpoint string `json:"endpoint"`
	What     string `json:"what" jsonschema:"status, header cache-control, field items[].price: …"`
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
	N        int    `json:"n" jsonschema:"answers that differ so"`
	Of       int    `json:"of" jsonschema:"requests that were sent to this endpoint"`
	Example  string `json:"example" jsonschema:"id of the recorded call"`
}

// Compared is what a comparison found.
type Compared struct {
	Findings []Finding `json:"findings"`
	Same     int       `json:"same" jsonschema:"answers that do not differ"`
	Noise    []string  `json:"noise,omitempty" jsonschema:"left out: what differed between recorded answers to the same request"`
	Unsure   []string  `json:"unsure,omitempty" jsonschema:"endpoints where values of fields were not compared: no request was recorded twice"`
}

// answer is a recorded or new answer as it is compared: facts by name.
type answer map[string]string

const absent = "(none)"

// facts are an answer's status, headers and fields.
func facts(status int, headers []traffic.Header, body []byte, cut bool) answer {
	a := answer{"status": strconv.Itoa(status)}
	for _, name := range matter {
		for _, h := range headers {
			if strings.EqualFold(h.Name, name) {
				a["header "+strings.ToLower(name)] = h.Value
			}
		}
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if !cut && len(body) > 0 && d.Decode(&v) == nil {
		flatten(a, "", v, 0)
	} else if len(body) > 0 && !cut {
		a["body"] = strconv.Itoa(len(body)) + " bytes"
	}
	return a
}

const (
	deepest   = 20
	mostFacts = 2000
)

// flatten notes the type and the value of every field. Elements of a list count together by type, and by place for values.
func flatten(a answer, path string, v any, depth int) {
	if depth > deepest || len(a) > mostFacts {
		return
	}
	note := func(kind, value string) {
		a["type of "+cmp.Or(shape(path), "body")] = kind
		if value != "" {
			a["value of "+path] = value
		}
	}
	switch x := v.(type) {
	case map[string]any:
		note("object", "")
		for k, y := range x {
			flatten(a, path+"."+k, y, depth+1)
		}
	case []any:
		note("list", "")
		for i, y := range x {
			flatten(a, path+"["+strconv.Itoa(i)+"]", y, depth+1)
		}
	case string:
		note("string", strconv.Quote(x))
	case json.Number:
		note("number", x.String())
	case bool:
		note("boolean", strconv.FormatBool(x))
	case nil:
		note("null", "null")
	}
}

// shape is a path without the places in lists.
func shape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '[' {
			if end := strings.IndexByte(path[i:], ']'); end > 0 {
				b.WriteString("[]")
				i += end
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return strings.TrimPrefix(b.String(), ".")
}

// name is what a fact is called in findings and noise: without places in lists.
func name(fact string) string {
	if rest, ok := strings.CutPrefix(fact, "value of "); ok {
		return "value of " + shape(rest)
	}
	return fact
}

// Compare holds answers against what was recorded. Recorded are all calls of the traffic, sent or not: noise is learned from them.
func Compare(recorded []*traffic.Call, plan Plan, answers []Answer) Compared {
	byID := map[string]*traffic.Call{}
	for _, c := range recorded {
		byID[c.ID] = c
	}
	noise, twice := learn(recorded)
	c := Compared{Findings: []Finding{}}
	sent, unsure := map[string]int{}, map[string]bool{}
	for i := range plan.Requests {
		if old := byID[plan.Requests[i].ID]; old != nil {
			sent[endpoint(old)]++
		}
	}
	for i, a := range answers {
		old := byID[plan.Requests[i].ID]
		if old == nil || !old.Answered() {
			continue
		}
		where := endpoint(old)
		differs := map[string]Finding{}
		if a.Status == 0 {
			differs["answer"] = Finding{Recorded: strconv.Itoa(old.Status), Now: a.Error}
		} else {
			before, now := recordedFacts(old), facts(a.Status, a.Headers, a.Body, a.Cut)
			for fact := range both(before, now) {
				if before["status"] != now["status"] && fact != "status" { // another status has another answer: that says it all
					continue
				}
				called := name(fact)
				if before[fact] == now[fact] || noise[where+"\x00"+called] || a.Cut && !strings.HasPrefix(fact, "header") && fact != "status" {
					continue
				}
				if strings.HasPrefix(fact, "value of ") || fact == "body" {
					if unsure[where] = !twice[where]; unsure[where] {
						continue
					}
				}
				differs[called] = Finding{Recorded: cmp.Or(before[fact], absent), Now: cmp.Or(now[fact], absent)}
			}
		}
		if len(differs) == 0 {
			c.Same++
		}
		for what, f := range differs {
			f.Endpoint, f.What, f.N, f.Of, f.Example = where, what, 1, sent[where], old.ID
			c.add(f)
		}
	}
	for n := range noise {
		where, what, _ := strings.Cut(n, "\x00")
		if sent[where] > 0 {
			c.Noise = append(c.Noise, where+": "+what)
		}
	}
	for where, is := range unsure {
		if is {
			c.Unsure = append(c.Unsure, where)
		}
	}
	slices.Sort(c.Noise)
	slices.Sort(c.Unsure)
	slices.SortFunc(c.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.What, b.What), cmp.Compare(a.Now, b.Now))
	})
	return c
}

// add counts a finding with its like: values differ each in its own way, all else alike.
func (c *Compared) add(f Finding) {
	for i := range c.Findings {
		g := &c.Findings[i]
		if g.Endpoint == f.Endpoint && g.What == f.What && (strings.HasPrefix(f.What, "value of ") || f.What == "answer" || g.Now == f.Now && g.Recorded == f.Recorded) {
			if g.N++; f.Example < g.Example {
				g.Example, g.Recorded, g.Now = f.Example, f.Recorded, f.Now
			}
			return
		}
	}
	c.Findings = append(c.Findings, f)
}

func both(a, b answer) map[string]bool {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

func endpoint(c *traffic.Call) string {
	return fmt.Sprintf("%s %s %s", c.Dst.Name(), c.Method, cmp.Or(c.Route, c.Path))
}

func recordedFacts(c *traffic.Call) answer {
	return facts(c.Status, c.HTTP.ResponseHeaders, c.HTTP.ResponseBody, c.HTTP.ResponseBodyCut)
}

// learn finds what differs between recorded answers to the same request, by endpoint, and at which endpoints there were such.
func learn(recorded []*traffic.Call) (noise, twice map[string]bool) {
	noise, twice = map[string]bool{}, map[string]bool{}
	first := map[string]answer{}
	for _, c := range recorded {
		if c.HTTP == nil || !c.Answered() || !c.Asked() {
			continue
		}
		where := endpoint(c)
		key := where + "\x00" + c.Path + "?" + c.HTTP.Query + "\x00" + string(c.HTTP.RequestBody)
		now := recordedFacts(c)
		before := first[key]
		if before == nil {
			first[key] = now
			continue
		}
		twice[where] = true
		if before["status"] != now["status"] {
			noise[where+"\x00status"] = true
			continue
		}
		for fact := range both(before, now) {
			if before[fact] != now[fact] {
				noise[where+"\x00"+name(fact)] = true
			}
		}
	}
	return noise, twice
}
