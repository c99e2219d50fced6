package scaffold

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/internal/config"
)

// known is a dependency that we know how to run without containers.
type known struct {
	image   string // last element of the image's name, up to the tag
	port    string // its port's name
	number  int
	command string
	init    string
	user    string
}

var servers = []known{
	{image: "postgres", port: "sql", number: 5432, user: "postgres",
		command: "postgres -D {{.Data}} -p {{.Port.sql}} -k {{.Data}} -c listen_addresses=*",
		init:    `sh -c 'initdb -D "$0" -U %s --auth=trust -E UTF8 --no-locale -N && echo "host all all all trust" >> "$0/pg_hba.conf"%s' {{.Data}}`},
	{image: "redis", port: "redis", number: 6379,
		command: `redis-server --port {{.Port.redis}} --dir {{.Data}} --save "" --appendonly no --protected-mode no`},
	{image: "valkey", port: "redis", number: 6379,
		command: `valkey-server --port {{.Port.redis}} --dir {{.Data}} --save "" --appendonly no --protected-mode no`},
	{image: "mysql", port: "sql", number: 3306}, {image: "mariadb", port: "sql", number: 3306},
	{image: "mongo", port: "mongo", number: 27017, command: "mongod --port {{.Port.mongo}} --dbpath {{.Data}} --bind_ip_all"},
	{image: "nats", port: "nats", number: 4222, command: "nats-server -p {{.Port.nats}}"},
	{image: "memcached", port: "memcached", number: 11211, command: "memcached -p {{.Port.memcached}}"},
	{image: "rabbitmq", port: "amqp", number: 5672}, {image: "kafka", port: "kafka", number: 9092}, {image: "etcd", port: "etcd", number: 2379},
	{image: "elasticsearch", port: "http", number: 9200}, {image: "minio", port: "s3", number: 9000},
}

// knownServer finds a dependency by its image.
func knownServer(image string) (known, bool) {
	base, _, _ := strings.Cut(path.Base(image), ":")
	base, _, _ = strings.Cut(base, "@")
	for _, k := range servers {
		if base == k.image || strings.HasPrefix(base, k.image+"-") || strings.HasSuffix(base, "-"+k.image) {
			return k, true
		}
	}
	return known{}, false
}

// dependency records a server that is run and not built.
func (f *finding) dependency(name, image, from string) *found {
	d := get(f.dependencies, name, from)
	d.image = image
	if k, ok := knownServer(image); ok && len(d.ports) == 0 {
		d.ports[k.port] = k.number
	}
	return d
}

func isCompose(base string) bool {
	return slices.Contains([]string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}, base)
}

// stringMap is environment and depends_on of Compose: a mapping or a list.
type stringMap map[string]string

// UnmarshalYAML reads "NAME=value", "name" and mappings.
func (m *stringMap) UnmarshalYAML(n *yaml.Node) error {
	*m = stringMap{}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i+1].ShortTag() != "!!null" {
				(*m)[n.Content[i].Value] = n.Content[i+1].Value
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			name, value, _ := strings.Cut(item.Value, "=")
			(*m)[name] = value
		}
	}
	return nil
}

type composeFile struct {
	Services map[string]struct {
		Image       string    `yaml:"image"`
		Build       yaml.Node `yaml:"build"`
		Ports       []yaml.Node
		Expose      []string  `yaml:"expose"`
		Environment stringMap `yaml:"environment"`
		DependsOn   stringMap `yaml:"depends_on"`
	} `yaml:"services"`
}

// compose adds the services of a Compose file: built ones are services, others dependencies.
func compose(f *finding, dir, file string) {
	var c composeFile
	if yaml.Unmarshal([]byte(text(dir, file)), &c) != nil {
		return
	}
	for _, original := range slices.Sorted(maps.Keys(c.Services)) {
		name, in := label(original), c.Services[original]
		if name == "" {
			continue
		}
		var s *found
		if in.Build.Kind == 0 && in.Image != "" && f.services[name] == nil {
			s = f.dependency(name, in.Image, file)
		} else {
			s = f.built(name, path.Dir(file), file, in.Build)
		}
		for _, p := range in.Ports {
			if number := containerPort(p); number > 0 {
				s.port(portOf(s.image), number)
			}
		}
		for _, e := range in.Expose {
			if n, err := strconv.Atoi(e); err == nil {
				s.port("", n)
			}
		}
		s.addEnv(in.Environment)
		for _, d := range slices.Sorted(maps.Keys(in.DependsOn)) {
			s.dependsOn = append(s.dependsOn, label(d))
		}
		s.listens = true
	}
}

func portOf(image string) string {
	k, ok := knownServer(image)
	if !ok {
		return ""
	}
	return k.port
}

// built finds the service that a Compose service builds, by context and Dockerfile.
func (f *finding) built(name, base, file string, n yaml.Node) *found {
	b := struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	}{}
	if n.Kind == yaml.ScalarNode {
		b.Context = n.Value
	} else if err := n.Decode(&b); err != nil {
		b.Context = "."
	}
	folder := path.Join(base, b.Context)
	if f.services[name] == nil {
		if s := f.byGoDir(folder); s != nil && folder != "." { // called by its Compose name: that is what peers know
			delete(f.services, s.name)
			s.name = name
			f.services[name] = s
		}
	}
	s := f.service(name, file)
	if s.goDir == "" && !strings.HasPrefix(folder, "..") {
		s.dockerfile = path.Join(folder, "Dockerfile")
		if b.Dockerfile != "" {
			s.dockerfile = path.Join(folder, b.Dockerfile)
		}
	}
	return s
}

// containerPort reads "8080", "80:8080", "127.0.0.1:80:8080/tcp" and {target: 8080}.
func containerPort(n yaml.Node) int {
	value := n.Value
	if n.Kind == yaml.MappingNode {
		var long struct {
			Target string `yaml:"target"`
		}
		if n.Decode(&long) != nil {
			return 0
		}
		value = long.Target
	}
	value, proto, _ := strings.Cut(value, "/")
	number, err := strconv.Atoi(value[strings.LastIndexByte(value, ':')+1:])
	if err != nil || proto == "udp" {
		return 0
	}
	return number
}

// addEnv takes the variables whose values devloop would read the same.
func (s *found) addEnv(env map[string]string) {
	for name, value := range env {
		_, err := config.Expand(value, func(string) (string, bool) { return "", true })
		if err != nil || strings.Contains(value, "{{") || name == "" || strings.Contains(name, "=") || strings.ContainsAny(value, "\x00") {
			continue
		}
		if _, known := s.env[name]; !known {
			s.env[name] = value
		}
	}
}

type container struct {
	Image string `yaml:"image"`
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
		Protocol      string `yaml:"protocol"`
	} `yaml:"ports"`
	Env []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	Readiness struct {
		HTTPGet struct {
			Path string `yaml:"path"`
		} `yaml:"httpGet"`
	} `yaml:"readinessProbe"`
}

type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Template struct {
			Spec struct {
				Containers []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

// manifest adds the Deployments and StatefulSets of a Kubernetes manifest. Templates of Helm are no YAML and are left out.
func manifest(f *finding, dir, file string) {
	content := text(dir, file)
	if !strings.Contains(content, "apiVersion:") {
		return
	}
	for d := yaml.NewDecoder(strings.NewReader(content)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) || err != nil {
			return
		}
		name := label(o.Metadata.Name)
		if o.Kind != "Deployment" && o.Kind != "StatefulSet" || name == "" {
			continue
		}
		for i, c := range o.Spec.Template.Spec.Containers {
			if i == 0 { // others are sidecars
				f.workload(name, file, c)
			}
		}
	}
}

func (f *finding) workload(name, file string, c container) {
	var s *found
	if _, ok := knownServer(c.Image); ok && f.services[name] == nil {
		s = f.dependency(name, c.Image, file)
	} else {
		s = f.service(name, file)
		if s.goDir == "" && s.dockerfile == "" && s.command == "" {
			s.image = c.Image
		}
	}
	for _, p := range c.Ports {
		if p.Protocol != "UDP" {
			s.port(p.Name, p.ContainerPort)
		}
	}
	env := map[string]string{}
	for _, e := range c.Env {
		if e.Value != "" {
			env[e.Name] = e.Value
		}
	}
	s.addEnv(env)
	if s.ready == "" && strings.HasPrefix(c.Readiness.HTTPGet.Path, "/") {
		s.ready = c.Readiness.HTTPGet.Path
	}
	s.listens = true
}

// local says how a dependency runs without containers, as far as we know.
func (s *found) local() (command, init, user string) {
	k, ok := knownServer(s.image)
	if !ok || k.command == "" || s.ports[k.port] == 0 {
		return "", "", ""
	}
	init = k.init
	if k.image == "postgres" {
		role := word(s.env["POSTGRES_USER"], "postgres")
		database := word(s.env["POSTGRES_DB"], role)
		create := ""
		if database != "postgres" { // that one initdb makes
			create = fmt.Sprintf(` && echo "create database %s" | postgres --single -D "$0" postgres`, database)
		}
		init = fmt.Sprintf(k.init, role, create)
	}
	return k.command, init, k.user
}

// word is a value if it is safe in a command, else the fallback.
func word(value, fallback string) string {
	if value == "" || strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return fallback
	}
	return value
}
