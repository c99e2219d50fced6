package mcp

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

//go:embed prompts/*.md
var promptFiles embed.FS

// prompt is a task with blanks. Its text is prompts/NAME.md: a template that gets the arguments and what follows from them.
type prompt struct {
	name, title, what string
	arguments         []argument
}

type argument struct {
	name, what string
	required   bool
}

// The arguments that several prompts have.
var (
	aService   = argument{name: "service", what: "name of a service"}
	aNamespace = argument{name: "namespace", what: "namespace of the cluster"}
	aMinutes   = argument{name: "minutes", what: "how far to look back; 60 by default"}
	aIteration = argument{name: "iteration", what: "id such as i12; the newest by default"}
)

// prompts is the list of them.
var prompts = []prompt{
	{"analyze_traffic", "Analyse traffic", "What the services say to each other: volumes, protocols, errors, latencies.", []argument{aService, aNamespace, aMinutes}},
	{"find_errors", "Find errors", "What failed, and why.", []argument{aService, aNamespace, aMinutes}},
	{"trace_request", "Trace a request", "Every hop of one request.", []argument{{name: "id", what: "id of a call"}, {name: "text", what: "an order id or another text that its calls mention"}, aService, aMinutes}},
	{"show_topology", "Show the topology", "Who calls whom, as a diagram.", []argument{aService, aNamespace, {name: "depth", what: "steps around the service; 2 by default"}, aMinutes}},
	{"latency_analysis", "Analyse latency", "Where the time of slow calls goes.", []argument{aService, {name: "endpoint", what: "path, such as /checkout"}, {name: "threshold_ms", what: "what counts as slow; 500 by default"}, aMinutes}},
	{"security_audit", "Audit security", "Egress, plaintext, credentials, sensitive data, missing authentication.", []argument{aNamespace, {name: "allow", what: "allowed destinations with commas between them"}, aMinutes}},
	{"compare_traffic", "Compare traffic", "What differs between two snapshots, iterations or revisions.", []argument{{name: "a", what: "snapshot, iteration or revision: what it was"}, {name: "b", what: "likewise: what it is"}, aService}},
	{"debug_connection", "Debug a connection", "Why one service cannot speak to another.", []argument{{name: "client", what: "service that asks"}, {name: "server", what: "service that is asked"}, aMinutes}},
	{"devloop_usage", "How to use devloop", "Which tool is for what.", nil},
	{"verify_change", "Verify a change", "Prove on real traffic that a change does what it shall.", []argument{{name: "change", what: "what it shall do"}, {name: "exercise", what: "exercise of devloop.yaml"}}},
	{"investigate_regression", "Investigate a regression", "What made it worse, and where in the code.", []argument{{name: "symptom", what: "what is wrong"}, {name: "good", what: "last good snapshot, iteration or revision"}, {name: "bad", what: "bad one"}}},
	{"write_checks", "Write checks", "Turn behaviour into checks.", []argument{aService, {name: "intent", what: "what shall hold"}}},
	{"explain_failure", "Explain a failure", "Why a check did not pass.", []argument{{name: "check", what: "name of the check"}, aIteration}},
}

// olderPrompts are names that a prompt had elsewhere: they are understood and not listed.
var olderPrompts = map[string]string{"kubeshark_usage": "devloop_usage"}

const (
	defaultMinutes = 60
	maxArgument    = 4096
)

// addPrompts registers the list.
func addPrompts(s *mcp.Server, t *tools, c *chosen) {
	texts := template.Must(template.New("").Option("missingkey=zero").Funcs(promptFuncs).ParseFS(promptFiles, "prompts/*.md"))
	for _, p := range prompts {
		listed := &mcp.Prompt{Name: p.name, Title: p.title, Description: p.what}
		for _, a := range p.arguments {
			listed.Arguments = append(listed.Arguments, &mcp.PromptArgument{Name: a.name, Description: a.what, Required: a.required})
		}
		s.AddPrompt(listed, func(ctx context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			text, err := p.fill(texts, r.Params.Arguments, time.Now())
			if err != nil {
				return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: err.Error()}
			}
			text += "\n" + t.facts(ctx) + c.lacking(text)
			return &mcp.GetPromptResult{Description: p.what, Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}, nil
		})
	}
}

// fill puts the arguments into the text.
func (p prompt) fill(texts *template.Template, given map[string]string, now time.Time) (string, error) {
	values := map[string]any{}
	for name, v := range given {
		if !slices.ContainsFunc(p.arguments, func(a argument) bool { return a.name == name }) {
			return "", fmt.Errorf("prompt %s has no argument %q", p.name, name)
		}
		if len(v) > maxArgument {
			return "", fmt.Errorf("argument %s is longer than %d bytes", name, maxArgument)
		}
		values[name] = v
	}
	minutes := defaultMinutes
	if text := given["minutes"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return "", fmt.Errorf("minutes is no positive number: %q", text)
		}
		minutes = n
	}
	values["minutes"] = strconv.Itoa(minutes)
	values["Start"] = now.Add(-time.Duration(minutes) * time.Minute).UnixMilli()
	values["Filter"] = and(oneEnd(given["service"]), in(given["namespace"]), onPath(given["endpoint"]))
	values["ClientFilter"] = end("src", given["client"])
	values["PairFilter"] = and(end("src", given["client"]), end("dst", given["server"]))
	var b strings.Builder
	if err := texts.ExecuteTemplate(&b, p.name+".md", values); err != nil {
		return "", fmt.Errorf("fill in prompt %s: %w", p.name, err)
	}
	return strings.TrimSpace(b.String()) + "\n", nil
}

// promptFuncs are what the texts call.
var promptFuncs = template.FuncMap{
	"args": argumentsOf, "and": and, "slow": slow, "mentions": func(text string) string { return "mentions(" + quote(text) + ")" },
	"list":    func(v any) []string { return split(text(v)) },
	"given":   func(a, b any) bool { return text(a) != "" && text(b) != "" },
	"compare": func(a, b, kfl any) string { return argumentsOf("a", side(text(a)), "b", side(text(b)), "kfl", kfl) },
}

// argumentsOf writes a tool's arguments as JSON; those that say nothing are left out.
func argumentsOf(pairs ...any) string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		v := pairs[i+1]
		switch x := v.(type) {
		case nil:
			continue
		case string:
			if x == "" {
				continue
			}
			if n, err := strconv.Atoi(x); err == nil && slices.Contains(numbers, pairs[i].(string)) {
				v = n
			} else if x == "true" {
				v = true
			}
		case []string:
			if len(x) == 0 {
				continue
			}
		}
		b, err := marshal(v)
		if err != nil {
			continue
		}
		parts = append(parts, quote(pairs[i].(string))+": "+b)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// numbers are the arguments that are no text.
var numbers = []string{"limit", "depth", "start"}

// marshal is JSON that people can read: filters are full of < and >.
func marshal(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

func quote(s string) string {
	b, _ := marshal(s) // text always has a form
	return b
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func split(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// and joins conditions; those that say nothing are left out.
func and(conditions ...any) string {
	var parts []string
	for _, c := range conditions {
		if s := text(c); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " && ")
}

func oneEnd(service string) string {
	if service == "" {
		return ""
	}
	return "(" + end("src", service) + " || " + end("dst", service) + ")"
}

func end(which, service string) string {
	if service == "" {
		return ""
	}
	return which + ".name == " + quote(service)
}

func in(namespace string) string {
	if namespace == "" {
		return ""
	}
	return quote(namespace) + " in namespaces"
}

func onPath(endpoint string) string {
	if endpoint == "" {
		return ""
	}
	return "path == " + quote(endpoint)
}

func slow(filter, threshold any) string {
	ms, err := strconv.Atoi(text(threshold))
	if err != nil || ms <= 0 {
		ms = 500
	}
	return and(filter, fmt.Sprintf("elapsed_time > %d", ms*1000))
}

// revision is the form of a revision's id; iterations begin with i.
var revision = regexp.MustCompile(`^r[0-9]+$`)

func side(name string) any {
	switch {
	case name == "":
		return nil
	case revision.MatchString(name):
		return map[string]string{"revision": name}
	case strings.Contains(name, "/"):
		return map[string]string{"db": name}
	}
	return map[string]string{"snapshot_id": name}
}

// facts are how things stand, as far as they can be had without starting anything that does not run.
func (t *tools) facts(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := retry(ctx, t, func(c *control.Client) (*control.Status, error) { return c.Status(ctx) })
	if err != nil {
		return "How things stand is not known: " + forModel(err).Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "How things stand: workspace %s", st.Workspace)
	var names []string
	for _, s := range st.Services {
		names = append(names, s.Name+" ("+s.State+")")
	}
	if len(names) > 0 {
		fmt.Fprintf(&b, "; services %s", strings.Join(names, ", "))
	}
	switch {
	case st.Source != "" && st.Running:
		fmt.Fprintf(&b, "; captured by %s", st.Source)
	default:
		b.WriteString("; nothing is captured now")
	}
	if len(st.Stale) > 0 {
		fmt.Fprintf(&b, "; changed since they were built: %s", strings.Join(st.Stale, ", "))
	}
	if st.Last != nil {
		fmt.Fprintf(&b, "; last iteration %s of revision %s: %s", st.Last.ID, st.Last.Revision, verdictOf(iteration(st.Last, false)))
	}
	return b.String() + ".\n"
}

func verdictOf(it Iteration) string {
	verdict := it.Verdict
	if verdict == "" {
		verdict = it.State + " without a verdict"
	}
	var names []string
	for _, c := range it.Attention {
		names = append(names, c.Verdict+" "+strconv.Quote(c.Name))
	}
	if len(names) == 0 {
		return verdict
	}
	return verdict + " (" + strings.Join(names[:min(10, len(names))], ", ") + ")"
}

// namedTools finds the tools that a text names: `tool`.
var namedTools = regexp.MustCompile("`([a-z0-9]+(?:_[a-z0-9]+)+|correlate|doctor)`")

// lacking names the tools of a text that this server does not offer.
func (c *chosen) lacking(text string) string {
	var names []string
	for _, m := range namedTools.FindAllStringSubmatch(text, -1) {
		h, ok := c.every[m[1]]
		if ok && !c.wants(m[1], h) && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "This server was started without " + strings.Join(names, ", ") + ": use traffic_query and traffic_get as far as they go, or ask the user to start it with --toolsets all.\n"
}
