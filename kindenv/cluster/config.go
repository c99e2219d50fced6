package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/devloop-io/devloop/internal/config"
)

// maxConfig bounds the size of a kind configuration.
const maxConfig = 1 << 20

// maxKindNodes bounds what may be asked for on one machine.
const maxKindNodes = 20

// nameSyntax is kind's own, and a bound: a node's name is a host name, with "-control-plane" behind it.
var nameSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,49}$`)

func checkName(name string) error {
	if nameSyntax.MatchString(name) {
		return nil
	}
	return &Error{Reason: BadConfig, What: fmt.Sprintf("%q cannot be a cluster's name", name), Hint: "at most 50 lower-case letters, digits, hyphens and dots"}
}

// ReadConfig reads a kind configuration file. An empty path is an empty configuration.
func ReadConfig(path string) (*v1alpha4.Cluster, error) {
	if path == "" {
		return &v1alpha4.Cluster{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Reason: BadConfig, What: "read the kind configuration: " + err.Error(), Hint: "--config FILE, or environment.kind.config in devloop.yaml", Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("larger than %d MiB", maxConfig>>20)
	}
	if err != nil {
		return nil, &Error{Reason: BadConfig, What: fmt.Sprintf("read the kind configuration %s: %v", path, err), Err: err}
	}
	return ParseConfig(path, data)
}

// ParseConfig reads the text of a kind configuration; file is the name that mistakes are told with. Mistakes come with
// file, line and column, as those of devloop.yaml do.
func ParseConfig(file string, data []byte) (*v1alpha4.Cluster, error) {
	var c v1alpha4.Cluster
	var root yaml.Node
	err := yaml.Unmarshal(data, &root)
	if err == nil {
		d := yaml.NewDecoder(bytes.NewReader(data))
		d.KnownFields(true)
		if err = d.Decode(&c); errors.Is(err, io.EOF) {
			err = nil // empty
		}
	}
	var mistakes config.Errors
	if err != nil {
		mistakes = yamlMistakes(file, data, err)
	} else {
		mistakes = configMistakes(file, data, &root, &c)
	}
	slices.SortStableFunc(mistakes, func(a, b *config.Error) int { return a.Line - b.Line })
	if len(mistakes) > 0 {
		return nil, &Error{Reason: BadConfig, What: mistakes.Error(), Hint: "https://kind.sigs.k8s.io/docs/user/configuration/", Err: mistakes}
	}
	return &c, nil
}

var lineOf = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// yamlMistakes gives the decoder's errors a place.
func yamlMistakes(file string, data []byte, err error) config.Errors {
	texts := []string{err.Error()}
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		texts = typed.Errors
	}
	var all config.Errors
	for _, text := range texts {
		e := &config.Error{File: file, Msg: strings.TrimPrefix(text, "yaml: ")}
		if m := lineOf.FindStringSubmatch(text); m != nil {
			e.Line, _ = strconv.Atoi(m[1])
			e.Msg = plain(m[2])
			e.Source = sourceLine(data, e.Line)
		}
		all = append(all, e)
	}
	return all
}

var (
	unknownField = regexp.MustCompile(`^field (\S+) not found in type v1alpha4\.(\S+)$`)
	wrongType    = regexp.MustCompile(`^cannot unmarshal \S+ (.*)into (\S+)$`)
)

// plain says in our words what the decoder says in Go's.
func plain(msg string) string {
	if m := unknownField.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("kind's %s has no field %q", m[2], m[1])
	}
	if m := wrongType.FindStringSubmatch(msg); m != nil {
		expected := "another type"
		switch {
		case strings.HasPrefix(m[2], "[]"):
			expected = "a list"
		case strings.HasPrefix(m[2], "map["), strings.HasPrefix(m[2], "v1alpha4."):
			expected = "a mapping"
		case strings.HasPrefix(m[2], "int"):
			expected = "a number"
		case m[2] == "bool":
			expected = "true or false"
		}
		return strings.TrimSuffix(fmt.Sprintf("%s is expected here, not %s", expected, strings.TrimSpace(m[1])), ", not ")
	}
	return msg
}

func sourceLine(data []byte, line int) string {
	lines := strings.Split(string(data), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	return lines[line-1]
}

// configMistakes are those that people make and that kind itself tells without a place, or only when it is too late.
func configMistakes(file string, data []byte, root *yaml.Node, c *v1alpha4.Cluster) config.Errors {
	var all config.Errors
	add := func(n *yaml.Node, format string, args ...any) {
		e := &config.Error{File: file, Msg: fmt.Sprintf(format, args...)}
		if n != nil {
			e.Line, e.Column, e.Source = n.Line, n.Column, sourceLine(data, n.Line)
		}
		all = append(all, e)
	}
	if len(root.Content) == 0 {
		return nil
	}
	top := root.Content[0]
	if c.Kind != "Cluster" {
		add(cmpNode(child(top, "kind"), top), "this is no kind configuration: it must say kind: Cluster")
	}
	if c.APIVersion != "kind.x-k8s.io/v1alpha4" {
		add(cmpNode(child(top, "apiVersion"), top), "apiVersion must be kind.x-k8s.io/v1alpha4, not %q", c.APIVersion)
	}
	nodes := child(top, "nodes")
	planes := 0
	for i, n := range c.Nodes {
		switch n.Role {
		case "", v1alpha4.ControlPlaneRole:
			planes++
		case v1alpha4.WorkerRole:
		default:
			add(cmpNode(child(nodes.Content[i], "role"), nodes.Content[i]), "a node's role is control-plane or worker, not %q", n.Role)
		}
	}
	if len(c.Nodes) > 0 && planes == 0 {
		add(nodes, "one of the nodes must have role: control-plane")
	}
	if c.Name != "" && !nameSyntax.MatchString(c.Name) {
		add(child(top, "name"), "%q cannot be a cluster's name: at most 50 lower-case letters, digits, hyphens and dots", c.Name)
	}
	for i, p := range c.KubeadmConfigPatches {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(p), &v); err != nil {
			add(child(top, "kubeadmConfigPatches").Content[i], "this patch is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
	}
	return all
}

func cmpNode(a, b *yaml.Node) *yaml.Node {
	if a != nil {
		return a
	}
	return b
}

// child is the value of a key.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// Merge adds to a kind configuration what devloop wants: the name, nodes where it lists none, and a kube-proxy that
// acts at once. What the user wrote wins.
func Merge(c *v1alpha4.Cluster, name string, nodes int) (*v1alpha4.Cluster, error) {
	merged := c.DeepCopy()
	merged.Name = name
	merged.TypeMeta = v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"}
	if len(merged.Nodes) == 0 {
		if nodes < 0 || nodes > maxKindNodes {
			return nil, &Error{Reason: BadConfig, What: fmt.Sprintf("%d nodes: the number must be from 1 to %d", nodes, maxKindNodes), Hint: "--nodes N, or environment.kind.nodes in devloop.yaml"}
		}
		merged.Nodes = []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}}
		for range max(nodes, 1) - 1 {
			merged.Nodes = append(merged.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole})
		}
	}
	// Merge patches apply in their order: ours comes first, so that the user's own setting overrides it.
	merged.KubeadmConfigPatches = slices.Insert(merged.KubeadmConfigPatches, 0, proxyPatch(merged.Networking.KubeProxyMode))
	return merged, nil
}

// proxyPatch lets kube-proxy act on a change at once. kind's default of one second is most of what a rollout takes, and new
// connections go nowhere in that time.
func proxyPatch(mode v1alpha4.ProxyMode) string {
	if mode != v1alpha4.NFTablesProxyMode && mode != v1alpha4.IPVSProxyMode {
		mode = v1alpha4.IPTablesProxyMode
	}
	return fmt.Sprintf("kind: KubeProxyConfiguration\n%s:\n  minSyncPeriod: 10ms\n", mode)
}
