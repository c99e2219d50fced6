package config

import (
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/devloop-io/devloop/internal/glob"
)

// validate checks what the types cannot say. Every mistake is added with its place.
func (d *document) validate(c *Config) {
	if c.Version != 1 {
		d.at("version", "write version: 1", "version must be 1")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		d.service(c, name, c.Services[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Dependencies)) {
		d.dependency(c, name, c.Dependencies[name])
	}
	d.hosts(c)
	d.cycles(c)
	d.exercises(c)
	d.globs("checks", c.Checks)
	if profiles := []string{ProfileDefault, ProfileAgent}; c.Profile != "" && !slices.Contains(profiles, c.Profile) {
		d.at("profile", meant(c.Profile, profiles), "unknown profile %q", c.Profile)
	}
	for i, name := range c.Protos {
		d.inside(fmt.Sprintf("protos[%d]", i), name)
	}
	environments := []string{"local", "kind", "cluster"}
	if e := c.Environment.Default; e != "" && !slices.Contains(environments, e) {
		d.at("environment.default", meant(e, environments), "unknown environment %q", e)
	}
	d.kindEnvironment(c.Environment.Kind)
	d.clusterEnvironment(c.Environment.Cluster)
}

// maxKindNodes bounds what one machine is asked for.
const maxKindNodes = 20

var clusterName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,49}$`)

func (d *document) kindEnvironment(k KindEnvironment) {
	const at = "environment.kind"
	if k.Name != "" && !clusterName.MatchString(k.Name) {
		d.at(at+".name", "at most 50 lower-case letters, digits, hyphens and dots", "%q cannot be a cluster's name", k.Name)
	}
	if k.Nodes < 0 || k.Nodes > maxKindNodes {
		d.at(at+".nodes", "", "%s.nodes must be from 1 to %d", at, maxKindNodes)
	}
	d.inside(at+".config", k.Config)
	d.manifests(at, k.Manifests)
}

func (d *document) clusterEnvironment(c ClusterEnvironment) {
	const at = "environment.cluster"
	if c.Namespace != "" && !dnsLabel.MatchString(c.Namespace) {
		d.at(at+".namespace", "at most 63 lower-case letters, digits and hyphens", "%q cannot be a namespace", c.Namespace)
	}
	d.manifests(at, c.Manifests)
	for i, p := range c.AllowContexts {
		if _, err := path.Match(p, ""); err != nil {
			d.at(fmt.Sprintf("%s.allowContexts[%d]", at, i), "", "bad pattern %q: %v", p, err)
		}
	}
}

// meant is a hint: the nearest name, or all of them.
func meant(name string, known []string) string {
	if s := Suggest(name, known); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	if len(known) == 0 {
		return ""
	}
	return "known here: " + strings.Join(known, ", ")
}

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsName  = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)
	portName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9_]{0,61}[a-z0-9])?$`)
	taskName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
)

func (d *document) service(c *Config, name string, s Service) {
	at := join("services", name)
	d.hostLabel(at, name)
	d.kinds(at, s)
	d.inside(at+".go", s.Go)
	d.inside(at+".dockerfile", s.Dockerfile)
	d.inside(at+".dir", s.Dir)
	d.inside(at+".env_file", s.EnvFile)
	d.ports(at, s.Ports)
	d.command(at+".command", s.Command)
	d.command(at+".build", s.Build)
	if s.Build != "" && s.Command == "" {
		d.at(at+".build", "say with command: how the result runs", "build goes with command only")
	}
	d.env(c, at, s.Env)
	for i, arg := range s.Args {
		d.runTemplate(c, fmt.Sprintf("%s.args[%d]", at, i), arg, nil)
	}
	d.runTemplate(c, at+".command", s.Command, nil)
	d.ready(at, s.Ready, s.Ports)
	d.globs(at+".watch", s.Watch)
	d.dependsOn(c, at, name, s.DependsOn)
	for i, host := range s.Hosts {
		if !dnsName.MatchString(host) || len(host) > 253 {
			d.at(fmt.Sprintf("%s.hosts[%d]", at, i), "lower-case letters, digits, hyphens and dots", "%q is no DNS name", host)
		}
	}
}

func (d *document) hostLabel(at, name string) {
	if !dnsLabel.MatchString(name) {
		hint := "at most 63 lower-case letters, digits and hyphens"
		if fixed := strings.Trim(strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(strings.ToLower(name)), "-"); dnsLabel.MatchString(fixed) {
			hint = fmt.Sprintf("did you mean %q?", fixed)
		}
		d.atKey(at, hint, "%q cannot be a name: peers reach it by this name through DNS", name)
	}
}

func (d *document) kinds(at string, s Service) {
	var set []string
	for _, k := range []struct{ key, value string }{{"go", s.Go}, {"command", s.Command}, {"dockerfile", s.Dockerfile}, {"image", s.Image}} {
		if k.value != "" {
			set = append(set, k.key)
		}
	}
	switch {
	case len(set) == 0:
		d.atKey(at, `such as go: ./cmd/`+path.Base(strings.TrimPrefix(at, "services.")), "%s does not say what it is: it needs one of go, command, dockerfile and image", at)
	case len(set) > 1:
		d.atKey(at+"."+set[1], "keep one of them", "%s has %s: exactly one says what it is", at, strings.Join(set, " and "))
	}
}

// inside checks that a path stays in the workspace.
func (d *document) inside(at, name string) {
	if name != "" && !isInside(name) {
		d.at(at, "paths are relative to the folder of devloop.yaml and stay within it", "%s: %q leads out of the workspace", at, name)
	}
}

func isInside(name string) bool {
	slashed := strings.ReplaceAll(name, `\`, "/")
	clean := path.Clean(slashed)
	return !path.IsAbs(slashed) && clean != ".." && !strings.HasPrefix(clean, "../") && !hasDrive(slashed) && !strings.ContainsRune(name, 0)
}

func hasDrive(name string) bool {
	return len(name) > 1 && name[1] == ':' && (name[0]|0x20) >= 'a' && (name[0]|0x20) <= 'z'
}

func (d *document) ports(at string, ports map[string]int) {
	byNumber := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		number, where := ports[name], at+".ports."+name
		if !portName.MatchString(name) {
			d.atKey(where, "lower-case letters, digits and hyphens, such as http", "%q cannot be a port's name", name)
		}
		switch {
		case number < 1 || number > 65535:
			d.at(where, "a number from 1 to 65535", "%s: %d is no port", where, number)
		case byNumber[number] != "":
			d.at(where, "", "%s: port %d is already named %q", where, number, byNumber[number])
		default:
			byNumber[number] = name
		}
	}
}

func (d *document) command(at, command string) {
	if command == "" {
		return
	}
	words, err := SplitWords(command)
	switch {
	case err != nil:
		d.at(at, "", "%s: %v", at, err)
	case len(words) == 0:
		d.at(at, "", "%s is blank", at)
	default:
		d.noShell(at, words)
	}
}

// noShell warns early: an operator of the shell would be handed to the program as an argument.
func (d *document) noShell(at string, words []string) {
	for _, w := range words {
		switch w {
		case "|", "||", "&&", ";", ">", ">>", "<", "&":
			d.at(at, fmt.Sprintf("write: sh -c %s", JoinWords([]string{strings.Join(words, " ")})), "%s: no shell runs this, so %q would be an argument of %s", at, w, words[0])
			return
		}
	}
}

func (d *document) ready(at string, r *Ready, ports map[string]int) {
	if r == nil {
		return
	}
	at += ".ready"
	names := slices.Sorted(maps.Keys(ports))
	known := func(where, port string) {
		if _, ok := ports[port]; port != "" && !ok {
			d.at(where, meant(port, names), "%s: there is no port %q", where, port)
		}
	}
	known(at+".tcp", r.TCP)
	if r.HTTP != nil {
		known(at+".http.port", r.HTTP.Port)
		if !strings.HasPrefix(r.HTTP.Path, "/") {
			d.at(at+".http.path", "", "%s.http.path must begin with /", at)
		}
		if len(ports) == 0 {
			d.at(at+".http", "declare it under ports, such as ports: {http: 8080}", "%s.http has no port to ask", at)
		}
	}
	if _, err := regexp.Compile(r.Log); err != nil {
		d.at(at+".log", "", "%s.log: %v", at, err)
	}
	if r.HTTP == nil && r.TCP == "" && r.Log == "" && r.Timeout == 0 {
		d.at(at, "such as ready: {http: {path: /healthz}}", "%s says nothing: it needs http, tcp or log", at)
	}
}

func (d *document) globs(at string, globs []string) {
	for i, g := range globs {
		where := fmt.Sprintf("%s[%d]", at, i)
		pattern := strings.TrimPrefix(g, "!")
		if err := glob.Validate(pattern); err != nil {
			d.at(where, "", "%s: %v", where, err)
		} else {
			d.inside(where, pattern)
		}
	}
}

func (d *document) dependsOn(c *Config, at, self string, names []string) {
	known := slices.Concat(slices.Sorted(maps.Keys(c.Services)), slices.Sorted(maps.Keys(c.Dependencies)))
	for i, name := range names {
		where := fmt.Sprintf("%s.depends_on[%d]", at, i)
		switch {
		case name == self:
			d.at(where, "", "%s depends on itself", at)
		case !slices.Contains(known, name):
			d.at(where, meant(name, slices.DeleteFunc(slices.Clone(known), func(k string) bool { return k == self })), "%s: there is no service or dependency %q", where, name)
		}
	}
}

// cycles says one circle of depends_on, if there is any.
func (d *document) cycles(c *Config) {
	done := map[string]bool{}
	var visit func(name string, trail []string) bool
	visit = func(name string, trail []string) bool {
		if i := slices.Index(trail, name); i >= 0 && len(trail)-i > 1 { // one alone was said already
			d.at("services."+trail[i]+".depends_on", "one of them must start first", "these wait for each other: %s", strings.Join(append(slices.Clone(trail[i:]), name), " → "))
			return true
		}
		if done[name] {
			return false
		}
		done[name] = true
		for _, next := range c.Services[name].DependsOn {
			if visit(next, append(trail, name)) {
				return true
			}
		}
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		if visit(name, nil) {
			return
		}
	}
}

func (d *document) dependency(c *Config, name string, dep Dependency) {
	at := join("dependencies", name)
	d.hostLabel(at, name)
	if dep.Image == "" && dep.Local == nil {
		d.atKey(at, `such as image: "postgres:16"`, "%s does not say how it runs: it needs image, local or both", at)
	}
	d.ports(at, dep.Ports)
	d.ready(at, dep.Ready, dep.Ports)
	d.env(c, at, dep.Env)
	if dep.Local == nil {
		return
	}
	if dep.Local.Command == "" {
		d.at(at+".local", "", "%s.local needs a command", at)
	}
	for key, command := range map[string]string{".local.command": dep.Local.Command, ".local.init": dep.Local.Init, ".local.fallback": dep.Local.Fallback} {
		d.command(at+key, command)
		d.runTemplate(c, at+key, command, dep.Ports)
	}
}

func (d *document) env(c *Config, at string, env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		where := at + ".env." + name
		if name == "" || strings.ContainsAny(name, "=\x00") {
			d.atKey(where, "", "%q cannot be the name of an environment variable", name)
		}
		if strings.ContainsRune(env[name], 0) {
			d.at(where, "", "%s: an environment variable cannot hold a NUL character", where)
		}
		if _, err := Expand(env[name], func(string) (string, bool) { return "", true }); err != nil {
			d.at(where, "", "%s: %v", where, err)
		}
		d.runTemplate(c, where, env[name], c.Dependencies[strings.TrimPrefix(at, "dependencies.")].Ports)
	}
}

// hosts says where two things would answer to one name.
func (d *document) hosts(c *Config) {
	owner := map[string]string{}
	claim := func(host, who string, report func(path, hint, format string, args ...any), where string) {
		if other := owner[host]; other != "" {
			report(where, "names are shared by services, dependencies and hosts", "the name %q is already taken by %s", host, other)
			return
		}
		owner[host] = who
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		claim(name, "service "+name, d.atKey, "services."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Dependencies)) {
		claim(name, "dependency "+name, d.atKey, "dependencies."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		for i, host := range c.Services[name].Hosts {
			claim(host, "a host of service "+name, d.at, fmt.Sprintf("services.%s.hosts[%d]", name, i))
		}
	}
}

func (d *document) exercises(c *Config) {
	standard := ""
	for _, name := range slices.Sorted(maps.Keys(c.Exercises)) {
		e, at := c.Exercises[name], "exercises."+name
		if !taskName.MatchString(name) {
			d.atKey(at, "letters, digits, hyphens, dots and underscores", "%q cannot be an exercise's name", name)
		}
		if len(e.Steps) == 0 {
			d.atKey(at, "such as steps: [{run: go test ./...}]", "%s has no steps", at)
		}
		if e.Default && standard != "" {
			d.at(at+".default", "keep one of them", "exercises %s and %s both say default: true", standard, name)
		} else if e.Default {
			standard = name
		}
		saved := map[string]string{}
		for i, step := range e.Steps {
			d.step(fmt.Sprintf("%s.steps[%d]", at, i), step, saved)
		}
	}
}

func (d *document) step(at string, s Step, saved map[string]string) {
	kinds := 0
	for _, set := range []bool{s.HTTP != nil, s.Replay != nil, s.Run != "", s.Wait != 0} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		d.at(at, "", "%s does nothing: it needs one of http, replay, run and wait", at)
	case kinds > 1:
		d.at(at, "make two steps of it", "%s has more than one of http, replay, run and wait", at)
	}
	d.command(at+".run", s.Run)
	if s.HTTP != nil {
		d.httpStep(at+".http", *s.HTTP, saved)
	}
	if s.Replay != nil {
		d.replayStep(at+".replay", *s.Replay, saved)
	}
}

var httpMethod = regexp.MustCompile(`^[A-Za-z]*$`)

// Bounds of an HTTP step.
const (
	maxRepeat      = 1_000_000
	maxConcurrency = 1_000
)

func (d *document) httpStep(at string, s HTTPStep, saved map[string]string) {
	scheme := strings.HasPrefix(s.URL, "http://") || strings.HasPrefix(s.URL, "https://") || strings.HasPrefix(s.URL, "{{")
	if !scheme {
		d.at(at+".url", `such as "http://frontend:8080/"`, "%s.url must begin with http:// or https://", at)
	}
	if !httpMethod.MatchString(s.Method) {
		d.at(at+".method", "", "%s: %q is no HTTP method", at, s.Method)
	}
	if s.Repeat < 0 || s.Repeat > maxRepeat {
		d.at(at+".repeat", "", "%s.repeat must be from 1 to %d", at, maxRepeat)
	}
	if s.Concurrency < 0 || s.Concurrency > maxConcurrency {
		d.at(at+".concurrency", "", "%s.concurrency must be from 1 to %d", at, maxConcurrency)
	}
	if s.ExpectStatus != 0 && (s.ExpectStatus < 100 || s.ExpectStatus > 599) {
		d.at(at+".expect_status", "", "%s: %d is no HTTP status", at, s.ExpectStatus)
	}
	data := stepData{Saved: saved}
	d.template(at+".url", s.URL, data)
	d.template(at+".body", s.Body, data)
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		d.template(at+".headers."+name, s.Headers[name], data)
	}
	for name := range s.Save {
		saved[name] = ""
	}
}

// stepData is what templates of steps see.
type stepData struct {
	N         int
	Iteration string
	Saved     map[string]string
}

// Bounds of a replay step.
const (
	maxFactor = 1000
	maxAtOnce = 256
)

func (d *document) replayStep(at string, s ReplayStep, saved map[string]string) {
	if s.Snapshot == "" {
		d.at(at, `such as snapshot: i7 ("devloop snapshot list"), or snapshot: traffic/rush.bundle ("devloop export bundle")`, "%s does not say what to replay: it needs snapshot", at)
	} else if s.IsFile() {
		d.inside(at+".snapshot", s.Snapshot)
	}
	if s.Factor != nil && !(*s.Factor >= 0 && *s.Factor <= maxFactor) {
		d.at(at+".factor", "1 keeps the recorded pauses, 0 leaves them out", "%s.factor must be from 0 to %d", at, maxFactor)
	}
	if s.Concurrency < 0 || s.Concurrency > maxAtOnce {
		d.at(at+".concurrency", "", "%s.concurrency must be from 1 to %d", at, maxAtOnce)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		d.template(at+".headers."+name, s.Headers[name], stepData{Saved: saved})
	}
}

// template parses a template and tries it on data that has all the names it may use.
func (d *document) template(at, text string, data any) {
	if !strings.Contains(text, "{{") {
		return
	}
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err == nil && !strings.Contains(text, "range") && !strings.Contains(text, "template") { // may run for long on no input at all
		err = t.Execute(io.Discard, data)
	}
	if err != nil {
		d.at(at, templateHint(err, data), "%s: %s", at, templateMessage(err))
	}
}

var templatePlace = regexp.MustCompile(`^template: :\d+(:\d+)?: (executing "" at )?`)

func templateMessage(err error) string {
	return "in the template: " + strings.TrimSuffix(templatePlace.ReplaceAllString(err.Error(), ""), " in type config.stepData")
}

func templateHint(err error, data any) string {
	if strings.Contains(err.Error(), "bad character U+002D '-'") {
		return `a name with a hyphen is written as {{index .Host "catalogue-db"}}`
	}
	if _, ok := data.(runData); ok {
		return "known here: .Data, .Host.NAME, .Port.NAME.PORT (in a dependency also .Port.PORT)"
	}
	return "known here: .N, .Iteration and, of what earlier steps saved, .Saved.NAME"
}

// runData is what templates of commands and environments see.
type runData struct {
	Data string
	Host map[string]string
	Port map[string]any
}

// runTemplate checks a template of a command or environment; own are the ports of the dependency it belongs to.
func (d *document) runTemplate(c *Config, at, text string, own map[string]int) {
	if !strings.Contains(text, "{{") {
		return
	}
	data := runData{Data: "/data", Host: map[string]string{}, Port: map[string]any{}}
	for name, s := range c.Services {
		data.Host[name], data.Port[name] = name, s.Ports
	}
	for name, dep := range c.Dependencies {
		data.Host[name], data.Port[name] = name, dep.Ports
	}
	for name, number := range own {
		data.Port[name] = number
	}
	d.template(at, text, data)
}
