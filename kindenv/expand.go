package kindenv

import (
	"fmt"
	"maps"
	"strings"
	"text/template"

	"github.com/devloop-io/devloop/internal/supervise"
)

// expand fills in the templates of a service's environment: {{.Host.NAME}} and {{.Port.NAME.PORT}} are a peer's name and
// declared port, {{.Port.NAME}} the service's own, {{.Data}} a private folder. It is localenv's vocabulary.
func (e *Env) expand(service string, env map[string]string) (map[string]string, error) {
	host, port := map[string]any{}, map[string]any{}
	ports := map[string]map[string]int{}
	for name, s := range e.o.Config.Services {
		ports[name] = s.Ports
	}
	for name, d := range e.o.Config.Dependencies {
		ports[name] = d.Ports
	}
	for name, declared := range ports {
		all := map[string]any{}
		for p, number := range declared {
			all[p], all[underscored(p)] = number, number
		}
		host[name], host[underscored(name)] = name, name
		port[name], port[underscored(name)] = all, all
	}
	for p, number := range ports[service] {
		port[p], port[underscored(p)] = number, number
	}
	values := map[string]any{"Data": supervise.DefaultDir + "/data", "Host": host, "Port": port}
	filled := maps.Clone(env)
	for k, text := range env {
		if !strings.Contains(text, "{{") {
			continue
		}
		t, err := template.New("").Option("missingkey=error").Parse(text)
		if err != nil {
			return nil, fmt.Errorf("env %s: %q: %w", k, text, err)
		}
		var out strings.Builder
		if err := t.Execute(&out, values); err != nil {
			return nil, fmt.Errorf("env %s: %q: %w", k, text, err)
		}
		filled[k] = out.String()
	}
	return filled, nil
}

// underscored makes a name that a template can spell after a dot.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }
