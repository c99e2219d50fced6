package localenv

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/devloop-io/devloop/internal/config"
)

// peer is what one service, dependency or exercise may know of another: how to reach it.
type peer struct {
	name     string
	hosts    []string          // further names
	declared map[string]int    // port name → the port of devloop.yaml
	reach    map[string]string // port name → host:port that connects
}

// values are what templates in commands and environments see.
func values(self string, data string, peers map[string]peer) map[string]any {
	host, port := map[string]any{}, map[string]any{}
	for name, p := range peers {
		ports := map[string]any{}
		h := name
		for pname, addr := range p.reach {
			i := strings.LastIndexByte(addr, ':')
			h = addr[:i]
			ports[pname] = addr[i+1:]
			ports[underscored(pname)] = addr[i+1:]
		}
		host[name], host[underscored(name)] = h, h
		port[name], port[underscored(name)] = ports, ports
	}
	// A program's own ports go by their names alone: {{.Port.sql}}.
	for pname, addr := range peers[self].reach {
		number := addr[strings.LastIndexByte(addr, ':')+1:]
		port[pname], port[underscored(pname)] = number, number
	}
	return map[string]any{"Data": data, "Host": host, "Port": port}
}

// underscored makes a name that a template can spell after a dot.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// fill executes a template; text without braces is returned as it is.
func fill(text string, data map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	var out strings.Builder
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	return out.String(), nil
}

// environment is what a process is started with: devloop's own environment, then the file, then the declared values.
func environment(base []string, workspace, file string, declared map[string]string, data map[string]any) ([]string, error) {
	env := slices.Clone(base)
	if file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(workspace, file)
		}
		values, err := config.ReadEnvFile(file)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			env = append(env, name+"="+values[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		value, err := config.Expand(declared[name], os.LookupEnv)
		if err == nil {
			value, err = fill(value, data)
		}
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", name, err)
		}
		env = append(env, name+"="+value)
	}
	return env, nil
}

// baseEnvironment is devloop's own environment without what belongs to it alone. Where a proxy is set, the peers are
// named as not to be reached through it.
func baseEnvironment(environ []string, noProxy []string) []string {
	var env []string
	proxied := false
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch name {
		case "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "INVOCATION_ID", "JOURNAL_STREAM":
			continue
		}
		if strings.HasSuffix(strings.ToLower(name), "_proxy") && strings.ToLower(name) != "no_proxy" && value != "" {
			proxied = true
		}
		env = append(env, kv)
	}
	if !proxied || len(noProxy) == 0 {
		return env
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		list := strings.Join(noProxy, ",")
		for _, kv := range environ {
			if v, ok := strings.CutPrefix(kv, name+"="); ok && v != "" {
				list = v + "," + list
			}
		}
		env = append(env, name+"="+list)
	}
	return env
}

// portVariables are what loopback mode hands over: PORT and PORT_<NAME> are the service's own ports,
// DEVLOOP_<PEER>_<NAME> is host:port of every other.
func portVariables(self string, peers map[string]peer) []string {
	var env []string
	own := peers[self]
	for _, pname := range slices.Sorted(maps.Keys(own.reach)) {
		number := own.reach[pname][strings.LastIndexByte(own.reach[pname], ':')+1:]
		env = append(env, "PORT_"+variableName(pname)+"="+number)
	}
	if first, ok := firstPort(own.declared); ok {
		env = append(env, "PORT="+own.reach[first][strings.LastIndexByte(own.reach[first], ':')+1:])
	}
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		for _, pname := range slices.Sorted(maps.Keys(peers[name].reach)) {
			env = append(env, "DEVLOOP_"+variableName(name)+"_"+variableName(pname)+"="+peers[name].reach[pname])
		}
	}
	return env
}

func variableName(name string) string { return strings.ToUpper(underscored(name)) }

// firstPort is the port that is meant when none is named: the only one, "http", or the first by name.
func firstPort(ports map[string]int) (string, bool) {
	if _, ok := ports["http"]; ok {
		return "http", true
	}
	sorted := slices.Sorted(maps.Keys(ports))
	if len(sorted) == 0 {
		return "", false
	}
	return sorted[0], true
}

var (
	hostPort = regexp.MustCompile(`[A-Za-z0-9_][A-Za-z0-9_.-]*:[0-9]{1,5}\b`)
	bareHost = regexp.MustCompile(`([a-z][a-z0-9+.-]*)://([^/@\s:]*(?::[^/@\s]*)?@)?([A-Za-z0-9_][A-Za-z0-9_.-]*)([/?#\s]|$)`)
	ownPort  = regexp.MustCompile(`^(0\.0\.0\.0|\[::\]|localhost|127\.0\.0\.1)?:([0-9]{1,5})$`)
)

var schemePorts = map[string]int{"http": 80, "https": 443, "ws": 80, "wss": 443, "grpc": 80, "postgres": 5432,
	"postgresql": 5432, "redis": 6379, "mysql": 3306, "mongodb": 27017, "amqp": 5672, "nats": 4222}

// rewriteHosts replaces the declared addresses of peers by those that connect in loopback mode:
// http://gateway:8080/x becomes http://127.0.0.1:40123/x. A value that is nothing but the service's own declared
// listening address becomes the allocated one.
func rewriteHosts(value, self string, peers map[string]peer) string {
	if m := ownPort.FindStringSubmatch(value); m != nil {
		number, _ := strconv.Atoi(m[2])
		for pname, declared := range peers[self].declared {
			if declared == number {
				return peers[self].reach[pname]
			}
		}
		return value
	}
	known := func(host string, port int) (string, bool) {
		p, ok := findPeer(host, peers)
		if !ok {
			return "", false
		}
		for pname, declared := range p.declared {
			if declared == port {
				return p.reach[pname], true
			}
		}
		return "", false
	}
	value = hostPort.ReplaceAllStringFunc(value, func(match string) string {
		i := strings.LastIndexByte(match, ':')
		port, _ := strconv.Atoi(match[i+1:])
		if addr, ok := known(match[:i], port); ok {
			return addr
		}
		return match
	})
	return bareHost.ReplaceAllStringFunc(value, func(match string) string {
		m := bareHost.FindStringSubmatch(match)
		if addr, ok := known(m[3], schemePorts[m[1]]); ok {
			return m[1] + "://" + m[2] + addr + m[4]
		}
		return match
	})
}

// findPeer finds who answers to a host name, as the DNS responder would.
func findPeer(host string, peers map[string]peer) (peer, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	first, rest, _ := strings.Cut(host, ".")
	for name, p := range peers {
		name = strings.ToLower(name)
		if name == host || name == first && clusterSuffix(rest) || slices.ContainsFunc(p.hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			return p, true
		}
	}
	return peer{}, false
}
