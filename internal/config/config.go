package config

import "time"

// Config is devloop.yaml. The JSON Schema that editors use is generated from it, doc comments included.
type Config struct {
	// Version of this file's format: 1.
	Version int `yaml:"version" json:"version"`
	// Services that devloop builds and runs, by the name that their peers use.
	Services map[string]Service `yaml:"services" json:"services,omitempty"`
	// Dependencies are servers that the services need and that are not built here: databases, brokers.
	Dependencies map[string]Dependency `yaml:"dependencies,omitempty" json:"dependencies,omitempty"`
	// Exercises drive the services in an iteration.
	Exercises map[string]Exercise `yaml:"exercises,omitempty" json:"exercises,omitempty"`
	// Environment says where the services run.
	Environment Environment `yaml:"environment,omitempty" json:"environment,omitempty"`
	// Checks are globs of *.netcheck.yaml files, relative to this file.
	Checks []string `yaml:"checks,omitempty" json:"checks,omitempty"`
	// Profile says which built-in checks are judged: default, or agent for all of them, for code that nobody has read yet.
	Profile string `yaml:"profile,omitempty" json:"profile,omitempty"`
	// Protos describe gRPC services: .proto files, folders of them, or descriptor sets, relative to this file. Messages are then
	// shown with the names of their fields.
	Protos []string `yaml:"protos,omitempty" json:"protos,omitempty"`
	// Window bounds the span of traffic that a verdict speaks of.
	Window Window `yaml:"window,omitempty" json:"window,omitempty"`
	// Storage bounds what is kept on disk.
	Storage Storage `yaml:"storage,omitempty" json:"storage,omitempty"`
	// Redact adds to what redaction hides.
	Redact Redact `yaml:"redact,omitempty" json:"redact,omitempty"`

	// Dir is the folder of the file, absolute: the workspace. Not part of the file.
	Dir string `yaml:"-" json:"-"`
	// Path is the file itself, absolute.
	Path string `yaml:"-" json:"-"`
}

// Service is one program under development. Exactly one of Go, Command, Dockerfile and Image says what it is.
type Service struct {
	// Go is the main package, relative to the workspace: "./cmd/payment".
	Go string `yaml:"go,omitempty" json:"go,omitempty"`
	// Command is a program with its arguments, split as a shell would split words; no shell runs it.
	Command string `yaml:"command,omitempty" json:"command,omitempty"`
	// Build is a command that runs before Command when a watched file changed.
	Build string `yaml:"build,omitempty" json:"build,omitempty"`
	// Dockerfile to build in kind and cluster environments.
	Dockerfile string `yaml:"dockerfile,omitempty" json:"dockerfile,omitempty"`
	// Image to run in kind and cluster environments.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// Dir is the working directory, relative to the workspace; the workspace itself by default.
	Dir string `yaml:"dir,omitempty" json:"dir,omitempty"`
	// Args are appended to the command line of a Go service.
	Args []string `yaml:"args,omitempty" json:"args,omitempty"`
	// Ports that it listens on, by name.
	Ports map[string]int `yaml:"ports,omitempty" json:"ports,omitempty"`
	// Env is set for the process. ${NAME} and ${NAME:-default} are taken from devloop's environment, {{.Data}} is a
	// private folder, {{.Host.NAME}} and {{.Port.NAME.PORT}} are a peer's address where names do not resolve.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// EnvFile is a file of NAME=value lines, relative to the workspace; a change in it restarts the service.
	EnvFile string `yaml:"env_file,omitempty" json:"env_file,omitempty"`
	// TLSKeys lets the process write the secrets of its TLS connections where devloop reads them (SSLKEYLOGFILE), so that
	// what lies behind TLS becomes calls; true by default, in local environments.
	TLSKeys *bool `yaml:"tls_keys,omitempty" json:"tls_keys,omitempty"`
	// Ready says when the service takes requests; by default when all its ports accept connections.
	Ready *Ready `yaml:"ready,omitempty" json:"ready,omitempty"`
	// Watch are globs of files that make it stale, relative to the workspace; for Go services the packages it is
	// built from by default.
	Watch []string `yaml:"watch,omitempty" json:"watch,omitempty"`
	// DependsOn are services and dependencies that must be ready first.
	DependsOn []string `yaml:"depends_on,omitempty" json:"depends_on,omitempty"`
	// Outside marks a stand-in for somebody else's service: traffic to it is egress.
	Outside bool `yaml:"outside,omitempty" json:"outside,omitempty"`
	// Hosts are further DNS names that it answers to: "api.payments.example".
	Hosts []string `yaml:"hosts,omitempty" json:"hosts,omitempty"`
}

// Dependency is a server that the services need.
type Dependency struct {
	// Image to run in a container, where an engine answers.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// Ports that it listens on, by name.
	Ports map[string]int `yaml:"ports,omitempty" json:"ports,omitempty"`
	// Env is set for the process or container.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// Ready says when it takes requests; by default when all its ports accept connections.
	Ready *Ready `yaml:"ready,omitempty" json:"ready,omitempty"`
	// Local is how to run it without a container engine.
	Local *LocalDependency `yaml:"local,omitempty" json:"local,omitempty"`
}

// LocalDependency runs a dependency as a local process.
type LocalDependency struct {
	// Command with its arguments; {{.Data}} is a private folder, {{.Port.sql}} the declared port of that name.
	Command string `yaml:"command" json:"command"`
	// Init is a command that runs once, when the private folder is new.
	Init string `yaml:"init,omitempty" json:"init,omitempty"`
	// User that runs Command and Init when devloop is root, for servers that refuse root: "postgres".
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Fallback runs where the program of Command is not installed; it is labelled as a stand-in in every answer.
	Fallback string `yaml:"fallback,omitempty" json:"fallback,omitempty"`
}

// Ready is a readiness probe.
type Ready struct {
	HTTP *ReadyHTTP `yaml:"http,omitempty" json:"http,omitempty"`
	// TCP is the name of a port that must accept a connection.
	TCP string `yaml:"tcp,omitempty" json:"tcp,omitempty"`
	// Log is a regular expression that a line of the log must match.
	Log string `yaml:"log,omitempty" json:"log,omitempty"`
	// Timeout after which the service counts as never ready; 30s by default.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
}

// ReadyHTTP asks a path until it answers 2xx or 3xx.
type ReadyHTTP struct {
	Path string `yaml:"path" json:"path"`
	// Port is a name of ports; the only or first one by default.
	Port string `yaml:"port,omitempty" json:"port,omitempty"`
}

// Exercise is what drives the services in an iteration.
type Exercise struct {
	Steps []Step `yaml:"steps" json:"steps"`
	// Timeout of the whole exercise; 2m by default.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// Default marks the exercise that a save runs, where there are several; the first by name otherwise.
	Default bool `yaml:"default,omitempty" json:"default,omitempty"`
}

// Profiles say which built-in checks are judged.
const (
	ProfileDefault = "default"
	ProfileAgent   = "agent" // also those that a person may have reasons to break, and that code nobody has read must not
)

// Step is one step of an exercise: exactly one of HTTP, Replay, Run and Wait.
type Step struct {
	HTTP   *HTTPStep   `yaml:"http,omitempty" json:"http,omitempty"`
	Replay *ReplayStep `yaml:"replay,omitempty" json:"replay,omitempty"`
	// Run is a command with its arguments; no shell runs it.
	Run string `yaml:"run,omitempty" json:"run,omitempty"`
	// Wait for a time.
	Wait Duration `yaml:"wait,omitempty" json:"wait,omitempty"`
}

// HTTPStep sends requests. URL, headers and body are Go templates with {{.N}}, the request's number from 0, and
// {{.Iteration}}.
type HTTPStep struct {
	Method      string            `yaml:"method,omitempty" json:"method,omitempty"`
	URL         string            `yaml:"url" json:"url"`
	Headers     map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Body        string            `yaml:"body,omitempty" json:"body,omitempty"`
	Repeat      int               `yaml:"repeat,omitempty" json:"repeat,omitempty"`
	Concurrency int               `yaml:"concurrency,omitempty" json:"concurrency,omitempty"`
	// Save takes values out of the last JSON response for later steps: {token: "access_token"} makes {{.Saved.token}}.
	Save map[string]string `yaml:"save,omitempty" json:"save,omitempty"`
	// ExpectStatus fails the exercise when another status comes; any answer is fine by default: checks judge.
	ExpectStatus int      `yaml:"expect_status,omitempty" json:"expect_status,omitempty"`
	Timeout      Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"` // of one request; 30s by default
}

// ReplayStep sends recorded requests again. Headers are Go templates, as those of an HTTP step.
type ReplayStep struct {
	// Snapshot that has the calls: an ID or a name that "devloop snapshot list" shows, or a bundle in the workspace, "traffic/rush.bundle".
	Snapshot string `yaml:"snapshot" json:"snapshot"`
	// KFL selects the calls to send; those that nothing inside of the system caused by default.
	KFL string `yaml:"kfl,omitempty" json:"kfl,omitempty"`
	// Factor stretches the recorded pauses: 1 by default, 0.5 is twice as fast, 0 leaves them out.
	Factor      *float64 `yaml:"factor,omitempty" json:"factor,omitempty"`
	Concurrency int      `yaml:"concurrency,omitempty" json:"concurrency,omitempty"` // requests at once, at most; 8 by default
	// All sends requests whose method is not idempotent, too: POST and PATCH.
	All bool `yaml:"all,omitempty" json:"all,omitempty"`
	// Headers are given to every request, instead of recorded ones: secrets, which recordings do not hold.
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// ExpectSame fails the exercise when something is answered otherwise than it was; it is only told by default: checks judge.
	ExpectSame bool `yaml:"expect_same,omitempty" json:"expect_same,omitempty"`
}

// Environment says where the services run.
type Environment struct {
	// Default environment: local, kind or cluster.
	Default string `yaml:"default,omitempty" json:"default,omitempty"`
	// Kind is a cluster of this machine, which devloop makes.
	Kind KindEnvironment `yaml:"kind,omitempty" json:"kind,omitempty"`
	// Cluster is one that is there already.
	Cluster ClusterEnvironment `yaml:"cluster,omitempty" json:"cluster,omitempty"`
}

// KindEnvironment is a kind cluster that devloop makes.
type KindEnvironment struct {
	// Name of the cluster; devloop by default. Workspaces that name the same cluster share it.
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Nodes of the cluster, 1 by default: one control plane, the others workers. It counts where Config lists no nodes.
	Nodes int `yaml:"nodes,omitempty" json:"nodes,omitempty"`
	// NodeImage is the image of every node; kind's own default, which is pulled, otherwise.
	NodeImage string `yaml:"nodeImage,omitempty" json:"nodeImage,omitempty"`
	// Config is a kind configuration file, relative to the workspace; it is passed through.
	Config string `yaml:"config,omitempty" json:"config,omitempty"`
	// Namespace to deploy to; the workspace folder's name by default.
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	// Manifests are what to deploy beside what is generated: files, folders, Kustomize folders and Helm charts.
	Manifests []Manifest `yaml:"manifests,omitempty" json:"manifests,omitempty"`
}

// ClusterEnvironment is a cluster that is there already.
type ClusterEnvironment struct {
	// Kubeconfig is a file, absolute or relative to the workspace; KUBECONFIG or ~/.kube/config by default. It is only read.
	Kubeconfig string `yaml:"kubeconfig,omitempty" json:"kubeconfig,omitempty"`
	// Context in it; the current one by default.
	Context string `yaml:"context,omitempty" json:"context,omitempty"`
	// Namespace to deploy to; the workspace folder's name by default.
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	// Manifests are what to deploy beside what is generated: files, folders, Kustomize folders and Helm charts.
	Manifests []Manifest `yaml:"manifests,omitempty" json:"manifests,omitempty"`
	// AllowContexts are names or patterns of contexts that may be used although they do not look like clusters of this machine.
	AllowContexts []string `yaml:"allowContexts,omitempty" json:"allowContexts,omitempty"`
	// AgentImage is the node agent's image in a registry that the cluster can pull from.
	AgentImage string `yaml:"agentImage,omitempty" json:"agentImage,omitempty"`
}

// Window bounds the span of traffic that a verdict speaks of.
type Window struct {
	// Quiet is how long nothing may be on the wire before the window closes; 50ms by default.
	Quiet Duration `yaml:"quiet,omitempty" json:"quiet,omitempty"`
	// Drain is how long a busy wire is waited for after the exercise; 2s by default.
	Drain Duration `yaml:"drain,omitempty" json:"drain,omitempty"`
}

// Storage bounds what is kept on disk.
type Storage struct {
	// Ring is the size of the packet ring, as "256MiB"; 256MiB by default.
	Ring Size `yaml:"ring,omitempty" json:"ring,omitempty"`
	// Snapshots is the total size of snapshots; 1GiB by default. The oldest go first.
	Snapshots Size `yaml:"snapshots,omitempty" json:"snapshots,omitempty"`
	// MaxAge of snapshots; 168h by default.
	MaxAge Duration `yaml:"max_age,omitempty" json:"max_age,omitempty"`
}

// Redact adds to what redaction hides.
type Redact struct {
	Headers []string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// Keys of JSON bodies, forms and queries.
	Keys []string `yaml:"keys,omitempty" json:"keys,omitempty"`
}

// Duration is a time span written with its unit: "50ms", "2m".
type Duration time.Duration

// Size is a number of bytes written with its unit: "256MiB", "1GB".
type Size int64
