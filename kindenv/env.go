package kindenv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/fastpath"
	"github.com/devloop-io/devloop/kindenv/identity"
	"github.com/devloop-io/devloop/traffic"
)

// The two kinds of Kubernetes environment.
const (
	Kind    = "kind"    // a kind cluster, made when it is not there
	Cluster = "cluster" // one that is there
)

// Options of [New].
type Options struct {
	Workspace string // folder of devloop.yaml
	StateDir  string // Workspace/.devloop by default
	Config    *config.Config
	Where     string // Kind or Cluster
	Hash      string // short name of the workspace, which everything of it is labelled with
	NodeImage string // instead of the configuration's
	Nodes     int    // likewise
	// Tool gives a static Linux program of devloop's own for a processor: devloop-agent, devloop-supervise.
	Tool func(ctx context.Context, name, arch string) ([]byte, error)
	Log  *slog.Logger
	Say  func(string) // progress, a line each
}

// Env is a Kubernetes environment. Its methods may be called from any goroutine.
type Env struct {
	o        Options
	cluster  *cluster.Cluster
	client   kubernetes.Interface
	deployer *deploy.Deployer
	fast     *fastpath.Client
	arch     string // of the nodes
	plan     *deploy.Plan
	ctx      context.Context // of everything that follows the cluster
	stop     context.CancelFunc
	follow   sync.WaitGroup
	crashed  chan Crash
	since    time.Time // capture begins with what the rings hold from then on; zero: with now

	faults faults

	mu       sync.Mutex
	ids      *identity.Watcher
	nodes    *nodes // capture; nil before
	door     *door  // into the cluster; nil before
	tools    map[string]*tool
	services map[string]*service
	later    []*unstructured.Unstructured // workloads that are waited for when all services serve
	watched  map[string]bool              // containers, by pod UID and name
	rolls    bool                         // no commands may be run in pods: programs go into images
	warnings []string
	closed   bool
}

// Crash is a service that ended unasked after it had been ready.
type Crash struct {
	Service string
	What    string // "payment in pod payment-x exited with code 2"
	Tail    string // of its log
}

// StartError says why a service did not come up.
type StartError struct {
	Service string
	What    string
	Tail    string // of its log
	Hint    string
}

// Error is the sentence.
func (e *StartError) Error() string { return e.Service + ": " + e.What }

// Build says what to run for a service.
type Build struct {
	ID      string
	Program string // path of a Linux program; empty where the service is an image
	Args    []string
	Env     map[string]string
	Image   string // of a service with dockerfile: or image:
}

// state is what is written down before anything is made, so that a run that was killed can be cleaned up.
type state struct {
	Where      string `json:"where"`
	Cluster    string `json:"cluster,omitempty"` // kind's name of it
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Context    string `json:"context,omitempty"`
	Namespace  string `json:"namespace"`
	Hash       string `json:"hash"`
	Made       bool   `json:"made"` // the cluster was made for this workspace
}

const stateFile = "cluster.json"

// New attaches to the workspace's cluster, and makes it where it is to be made. Nothing is deployed yet.
func New(ctx context.Context, o Options) (*Env, error) {
	if o.StateDir == "" {
		o.StateDir = filepath.Join(o.Workspace, ".devloop")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	quiet(o.Log)
	e := &Env{o: o, tools: map[string]*tool{}, services: map[string]*service{}, watched: map[string]bool{}, crashed: make(chan Crash, 64), faults: faults{there: map[string]*placed{}}}
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.attach(ctx); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// attach finds or makes the cluster and learns what it must know of it.
func (e *Env) attach(ctx context.Context) error {
	st := state{Where: e.o.Where, Namespace: e.Namespace(), Hash: e.o.Hash}
	var err error
	switch e.o.Where {
	case Kind:
		err = e.attachKind(ctx, &st)
	case Cluster:
		err = e.attachCluster(ctx, &st)
	default:
		return fmt.Errorf("there is no environment %q", e.o.Where)
	}
	if err != nil {
		return err
	}
	if e.client, err = e.cluster.Client(); err != nil {
		return err
	}
	if e.deployer, err = deploy.NewDeployer(e.cluster.REST()); err != nil {
		return err
	}
	e.deployer.Say = e.o.Say
	if e.fast, err = fastpath.New(e.cluster.REST()); err != nil {
		return err
	}
	if e.arch, err = architecture(ctx, e.client); err != nil {
		return deploy.Explain(err)
	}
	outside := map[string]bool{}
	for name, s := range e.o.Config.Services {
		outside[name] = s.Outside
	}
	e.ids, err = identity.Watch(e.ctx, identity.Options{Client: e.client, Workspace: e.o.Hash, Namespace: e.Namespace(), Outside: outside, Ahead: e.ahead})
	if err != nil {
		return deploy.Explain(err)
	}
	for what, err := range e.ids.Refused() {
		e.warn("%s of the cluster may not be read, so names that come from them are missing: %v", what, err)
	}
	return nil
}

func (e *Env) attachKind(ctx context.Context, st *state) error {
	k := e.o.Config.Environment.Kind
	st.Cluster = cmp.Or(k.Name, "devloop")
	home, err := cluster.Home()
	if err != nil {
		return err
	}
	before, _ := readState(e.o.StateDir) // none, or unreadable: then it is not known to be ours
	if e.cluster, err = home.Attach(ctx, st.Cluster); err == nil {
		st.Made = before.Made && before.Cluster == st.Cluster
		st.Kubeconfig, st.Context = e.cluster.Kubeconfig, e.cluster.Context
		return e.writeState(st)
	}
	if !cluster.Is(err, cluster.NotFound) {
		return err
	}
	st.Made = true
	if err := e.writeState(st); err != nil {
		return err
	}
	conf := k.Config
	if conf != "" && !filepath.IsAbs(conf) {
		conf = filepath.Join(e.o.Workspace, conf)
	}
	e.cluster, err = home.Create(ctx, cluster.CreateOptions{
		Name: st.Cluster, Nodes: cmp.Or(e.o.Nodes, k.Nodes), NodeImage: cmp.Or(e.o.NodeImage, k.NodeImage), Config: conf,
		Wait: 3 * time.Minute, System: true, Progress: func(s cluster.Step) {
			if s.Done {
				e.o.Say(fmt.Sprintf("cluster %s: %s, %.1f s", st.Cluster, s.Name, s.Took.Seconds()))
			}
		},
	})
	if err != nil {
		return errors.Join(err, forgetState(e.o.StateDir))
	}
	st.Kubeconfig, st.Context = e.cluster.Kubeconfig, e.cluster.Context
	return e.writeState(st)
}

func (e *Env) attachCluster(ctx context.Context, st *state) error {
	c := e.o.Config.Environment.Cluster
	path := c.Kubeconfig
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(e.o.Workspace, path)
	}
	var err error
	if e.cluster, err = cluster.Open(ctx, cluster.OpenOptions{Kubeconfig: path, Context: c.Context, AllowContexts: c.AllowContexts}); err != nil {
		return err
	}
	st.Kubeconfig, st.Context = cmp.Or(e.cluster.Kubeconfig, path), e.cluster.Context
	return e.writeState(st)
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// Namespace is where the workspace's services live: the configured one, else the folder's name.
func (e *Env) Namespace() string { return namespaceOf(e.o.Config, e.o.Where, e.o.Workspace) }

func namespaceOf(cfg *config.Config, where, workspace string) string {
	name := cfg.Environment.Kind.Namespace
	if where == Cluster {
		name = cfg.Environment.Cluster.Namespace
	}
	if name != "" {
		return name
	}
	name = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(filepath.Base(workspace)), "-"), "-")
	return strings.Trim(cmp.Or(name[:min(len(name), 63)], "devloop"), "-")
}

// Name is kind or cluster.
func (e *Env) Name() string { return e.o.Where }

// Describe names the cluster: "kind cluster shop, namespace shop".
func (e *Env) Describe() string {
	return fmt.Sprintf("%s %s, namespace %s", map[string]string{Kind: "kind cluster", Cluster: "context"}[e.o.Where], e.cluster.Name, e.Namespace())
}

// Arch is the processor of the nodes, as Go names it.
func (e *Env) Arch() string { return e.arch }

// Warnings are sentences about what is not as it should be.
func (e *Env) Warnings() []string {
	e.mu.Lock()
	list, n := append([]string(nil), e.warnings...), e.nodes
	e.mu.Unlock()
	if n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.narrow != "" {
			list = append(list, n.narrow)
		}
		list = append(list, n.skewed()...)
	}
	return list
}

func (e *Env) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.warnings {
		if w == text {
			return
		}
	}
	const most = 32
	if len(e.warnings) < most {
		e.warnings = append(e.warnings, text)
	}
}

// Identities says whose addresses are and were.
func (e *Env) Identities() []traffic.Identity { return e.ids.Identities() }

// Resolve says whose an address was at a time, in Unix nanoseconds.
func (e *Env) Resolve(ip netip.Addr, at int64) (traffic.Workload, bool) { return e.ids.Resolve(ip, at) }

// Events are what happened in the namespace and to the nodes in a span of time, in Unix nanoseconds.
func (e *Env) Events(from, to int64) []traffic.ClusterEvent { return e.ids.Events(from, to) }

// Crashes tells of services that ended unasked after they had been ready. It is closed by Close.
func (e *Env) Crashes() <-chan Crash { return e.crashed }

// Close lets go of the cluster: what runs in it goes on.
func (e *Env) Close(context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	d, n := e.door, e.nodes
	e.mu.Unlock()
	var errs []error
	if _, err := e.ClearFault(""); err != nil {
		errs = append(errs, err)
	}
	e.stop()
	if d != nil {
		errs = append(errs, d.Close())
	}
	if n != nil {
		errs = append(errs, n.Close())
	}
	e.follow.Wait()
	close(e.crashed)
	return errors.Join(errs...)
}

// Down removes everything of the workspace from the cluster and checks that it is gone; the cluster too, where devloop
// made it for this workspace, nobody else uses it, and it is not to be kept.
func (e *Env) Down(ctx context.Context, keepCluster bool) error {
	if err := e.Close(ctx); err != nil {
		e.o.Log.Warn("the cluster was not let go of well", "err", err)
	}
	_, err := Clean(ctx, e.o.Workspace, e.o.StateDir, keepCluster)
	return err
}

// Clean removes what a workspace has in the cluster that its state file names. It returns what it removed, in words; a
// workspace that never had any is fine.
func Clean(ctx context.Context, workspace, stateDir string, keepCluster bool) ([]string, error) {
	if stateDir == "" {
		stateDir = filepath.Join(workspace, ".devloop")
	}
	st, err := readState(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var removed []string
	if st.Where == Kind {
		removed, err = cleanKind(ctx, st, keepCluster)
		if err != nil || keepCluster && st.Made {
			return removed, err
		}
		return removed, forgetState(stateDir)
	}
	// The context was allowed when it was deployed to; removing what is labelled as ours needs no second permission.
	c, err := cluster.Open(ctx, cluster.OpenOptions{Kubeconfig: st.Kubeconfig, Context: st.Context, AllowContexts: []string{st.Context}})
	if err != nil {
		return nil, err
	}
	if removed, err = remove(ctx, c, st.Hash); err != nil {
		return removed, err
	}
	return removed, forgetState(stateDir)
}

func cleanKind(ctx context.Context, st state, keepCluster bool) ([]string, error) {
	home, err := cluster.Home()
	if err != nil {
		return nil, err
	}
	c, err := home.Attach(ctx, st.Cluster)
	if cluster.Is(err, cluster.NotFound) {
		return nil, nil
	}
	if err != nil {
		if st.Made { // half of one, which a killed run left
			return []string{"cluster " + st.Cluster}, home.Delete(ctx, st.Cluster, false)
		}
		return nil, err
	}
	if st.Made && !keepCluster {
		others, err := workspaces(ctx, c, st.Hash)
		if err != nil {
			return nil, err
		}
		if len(others) == 0 {
			return []string{"cluster " + st.Cluster}, home.Delete(ctx, st.Cluster, false)
		}
	}
	return remove(ctx, c, st.Hash)
}

// remove removes a workspace's objects, and its lines of the name server where that is ours to change.
func remove(ctx context.Context, c *cluster.Cluster, hash string) ([]string, error) {
	d, err := deploy.NewDeployer(c.REST())
	if err != nil {
		return nil, err
	}
	removed, err := d.Remove(ctx, hash)
	if err != nil || !c.Ours {
		return removed, err
	}
	client, err := c.Client()
	if err != nil {
		return removed, err
	}
	changed, err := coreDNS(ctx, client, hash, nil)
	if err != nil || !changed {
		return removed, err
	}
	return removed, restartCoreDNS(ctx, client)
}

func readState(dir string) (st state, err error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("read %s: %w", filepath.Join(dir, stateFile), err)
	}
	return st, nil
}

func (e *Env) writeState(st *state) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(e.o.StateDir, 0o700); err != nil {
		return fmt.Errorf("write down what is made: %w", err)
	}
	path := filepath.Join(e.o.StateDir, stateFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("write down what is made: %w", err)
	}
	return os.Rename(path+".new", path)
}

func forgetState(dir string) error {
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
