package kindenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/supervise"
	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/fastpath"
	"github.com/devloop-io/devloop/kindenv/image"
	"github.com/devloop-io/devloop/traffic"
)

// service is one of devloop.yaml's that was started.
type service struct {
	build   Build
	program *fastpath.Program          // nil where it is an image
	pushed  map[string]bool            // by pod UID
	said    map[string]supervise.Event // what the supervisor said last, by pod UID
	ready   bool                       // it serves
}

const (
	runningBound = 90 * time.Second // until a pod runs
	readyBound   = 90 * time.Second // until it is ready
	roomBound    = 60 * time.Second // until a namespace that is being deleted is gone
)

// Running is what is known of a service or dependency that was started.
type Running struct {
	Name  string
	Kind  string // service or dependency
	Build string
	Pods  []string
	IP    string // of its first pod
}

// StartDependencies plans what the workspace is in the cluster, and applies everything but services that are images: the
// pods that a program will be pushed into come up while it is compiled. It returns when the dependencies are ready and the
// way in is open. What is there already is left alone.
func (e *Env) StartDependencies(ctx context.Context) error {
	if e.plan == nil {
		if err := e.makePlan(ctx); err != nil {
			return err
		}
	}
	room, cancel := context.WithTimeoutCause(ctx, roomBound, fmt.Errorf("it took longer than %s", roomBound))
	defer cancel()
	if err := e.deployer.Namespace(room, e.plan); err != nil {
		return err
	}
	var first, pods []*unstructured.Unstructured
	for _, o := range e.plan.Objects {
		switch s, ok := e.plan.Owner(o); {
		case !ok:
			first = append(first, o)
		case s.Fast || s.Role != traffic.KindService:
			pods = append(pods, o)
		}
	}
	var g errgroup.Group
	g.Go(func() error { return e.openDoor(ctx) })
	g.Go(func() error {
		if _, err := e.deployer.Apply(ctx, first); err != nil {
			return err
		}
		restart, err := e.names(ctx)
		if err != nil {
			return err
		}
		if restart {
			g.Go(func() error { return restartCoreDNS(ctx, e.client) })
		}
		if _, err := e.deployer.Apply(ctx, pods); err != nil {
			return err
		}
		return e.dependencies(ctx)
	})
	return g.Wait()
}

// dependencies waits until they are ready.
func (e *Env) dependencies(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, runningBound+readyBound)
	defer cancel()
	names := slices.Sorted(maps.Keys(e.plan.Services))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		if s := e.plan.Services[name]; s.Role == traffic.KindDependency {
			wg.Go(func() {
				_, err := e.deployer.WaitReady(ctx, e.plan, s)
				errs[i] = startError(err)
			})
		}
	}
	var rest error
	wg.Go(func() {
		later, err := e.deployer.WaitBefore(ctx, e.plan)
		e.mu.Lock()
		e.later = later
		e.mu.Unlock()
		if rest = startError(err); rest == nil {
			rest = e.afterServices(ctx)
		}
	})
	wg.Wait()
	return errors.Join(append(errs, rest)...)
}

// afterServices waits for what could not be waited for before the services, as soon as all of them serve.
func (e *Env) afterServices(ctx context.Context) error {
	e.mu.Lock()
	for name, s := range e.plan.Services {
		if run := e.services[name]; s.Role == traffic.KindService && (run == nil || !run.ready) {
			e.mu.Unlock()
			return nil
		}
	}
	later := e.later
	e.later = nil
	e.mu.Unlock()
	if len(later) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	err := e.deployer.WaitAfter(ctx, later)
	if err != nil { // whoever starts a service next looks again
		e.mu.Lock()
		e.later = later
		e.mu.Unlock()
	}
	return startError(err)
}

func (e *Env) makePlan(ctx context.Context) error {
	supervisor, err := e.loadSupervisor(ctx)
	if err != nil {
		return fmt.Errorf("make the supervisor's image: %w", err)
	}
	cfg := e.o.Config
	images := map[string]string{}
	for name, s := range cfg.Services {
		if s.Dockerfile != "" {
			images[name] = deploy.ImagePrefix + name + ":none" // until it is built
		}
	}
	e.plan, err = deploy.New(deploy.Options{
		Config: cfg, Namespace: e.Namespace(), Workspace: e.o.Hash, Supervisor: supervisor, Manifests: cfg.Environment.Manifests(e.o.Where), Images: images,
	})
	if err == nil {
		for _, n := range e.plan.Notes {
			e.warn("%s", n)
		}
	}
	return err
}

// Start runs a build of a service: its program is pushed into every pod, or its image is rolled out. It returns when
// every pod serves the build.
func (e *Env) Start(ctx context.Context, name string, b Build) error {
	s, ok := e.plan.Services[name]
	if !ok {
		return fmt.Errorf("service %s is not planned", name)
	}
	if err := e.start(ctx, s, b); err != nil {
		return startError(err)
	}
	e.mu.Lock()
	e.services[name].ready = true
	e.mu.Unlock()
	return e.afterServices(ctx)
}

func (e *Env) start(ctx context.Context, s deploy.Service, b Build) error {
	running, cancel := context.WithTimeout(ctx, runningBound)
	defer cancel()
	var err error
	if b.Env, err = e.expand(s.Name, b.Env); err != nil {
		return err
	}
	run := &service{build: b, pushed: map[string]bool{}, said: map[string]supervise.Event{}}
	if s.Fast {
		if run.program, err = e.program(s, b); err != nil {
			return err
		}
	}
	e.mu.Lock()
	e.services[s.Name] = run
	rolls := e.rolls
	e.mu.Unlock()
	switch {
	case !s.Fast:
		_, err = e.deployer.Apply(running, []*unstructured.Unstructured{deploy.WithImage(e.plan.Workload(s), s, b.Image, b.Env, b.ID)})
	case rolls:
		err = e.roll(running, s, run)
	default:
		err = e.pushAll(running, s, run)
	}
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	pods, err := e.deployer.WaitReady(ready, e.plan, s)
	if err != nil {
		return err
	}
	if !s.Fast {
		for _, p := range pods {
			e.runs(&p, s.Container, b.ID)
		}
	}
	return e.reachable(ready, s)
}

// pushAll pushes to every pod of a service, or rolls its program out where no commands may be run in pods.
func (e *Env) pushAll(ctx context.Context, s deploy.Service, run *service) error {
	if _, err := e.deployer.Apply(ctx, []*unstructured.Unstructured{e.plan.Workload(s)}); err != nil {
		return err
	}
	pods, err := e.deployer.WaitRunning(ctx, e.plan, s)
	if err != nil {
		return err
	}
	err = e.push(ctx, s, run, pods)
	var forbidden *fastpath.Forbidden
	if !errors.As(err, &forbidden) {
		return err
	}
	e.warn("programs go into images and are rolled out, which takes longer than pushing them: %v", forbidden)
	e.mu.Lock()
	e.rolls = true
	e.mu.Unlock()
	return e.roll(ctx, s, run)
}

// program is what is pushed of a build.
func (e *Env) program(s deploy.Service, b Build) (*fastpath.Program, error) {
	args := b.Args
	if len(args) == 0 {
		args = s.Args
	}
	cfg := e.o.Config.Services[s.Name]
	p := &fastpath.Program{Path: b.Program, Switch: supervise.Switch{Build: b.ID, Name: s.Name, Args: args, Env: b.Env, Ready: readiness(cfg.Ready, cfg.Ports)}}
	return p, p.Load()
}

// readiness is ready: in the supervisor's words; without one all ports have to accept.
func readiness(r *config.Ready, ports map[string]int) supervise.Ready {
	var all supervise.Ready
	names := slices.Sorted(maps.Keys(ports))
	if r != nil {
		all.Timeout = time.Duration(r.Timeout)
	}
	switch {
	case r != nil && r.HTTP != nil:
		name := r.HTTP.Port
		if name == "" && len(names) > 0 {
			name = names[0]
		}
		all.Port, all.Path = ports[name], r.HTTP.Path
	case r != nil && r.TCP != "":
		all.TCP = []int{ports[r.TCP]}
	default:
		for _, n := range names {
			all.TCP = append(all.TCP, ports[n])
		}
	}
	return all
}

// push switches pods to a service's program, all at the same time.
func (e *Env) push(ctx context.Context, s deploy.Service, run *service, pods []corev1.Pod) error {
	if err := e.known(ctx, s, pods); err != nil {
		return err
	}
	errs := make([]error, len(pods))
	var wg sync.WaitGroup
	for i, pod := range pods {
		wg.Go(func() { errs[i] = e.pushOne(ctx, s, run, &pod) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (e *Env) pushOne(ctx context.Context, s deploy.Service, run *service, pod *corev1.Pod) error {
	to := inPod(pod, s)
	if e.has(ctx, s, to) == run.build.ID {
		e.fast.Has(to, *run.program)
	}
	started, err := e.fast.Push(ctx, to, *run.program, func(ctx context.Context) error {
		e.mu.Lock()
		n := e.nodes
		e.mu.Unlock()
		if n != nil { // what the old program said is delivered under its own name
			if err := n.source.Flush(ctx); err != nil {
				return fmt.Errorf("draw the line between two builds in the capture: %w", err)
			}
		}
		e.runs(pod, s.Container, run.build.ID)
		return nil
	})
	if err != nil {
		return e.notStarted(ctx, s, pod, err)
	}
	e.mu.Lock()
	run.pushed[to.UID], run.said[to.UID] = true, started
	e.mu.Unlock()
	return nil
}

// has follows a container, and says which build it has when it was not followed before: an earlier devloop may have pushed
// it. It is started again all the same, without being sent again, because the connections that it keeps began when nobody
// listened: what is said on them could not be read.
func (e *Env) has(ctx context.Context, s deploy.Service, in fastpath.Container) (build string) {
	key := in.UID + "/" + in.Name
	e.mu.Lock()
	known := e.watched[key]
	e.watched[key] = true
	e.mu.Unlock()
	if known {
		return ""
	}
	select {
	case now := <-e.watch(s, in):
		return now.Build
	case <-ctx.Done():
		return ""
	}
}

// runs notes which build a container runs from here on.
func (e *Env) runs(pod *corev1.Pod, name, build string) {
	e.ids.SetBuild(string(pod.UID), name, build)
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n != nil {
		n.source.runs(container{pod.Namespace, pod.Name, name}, build)
	}
}

// known waits until the containers of the pods are known by their IDs, and captured: so the first packet of a program
// has a name.
func (e *Env) known(ctx context.Context, s deploy.Service, pods []corev1.Pod) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pod := range pods {
		for {
			if w, ok := e.ids.Container(string(pod.UID), containerID(&pod, s.Container)); ok && w.Container == s.Container {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("the cluster does not tell of pod %s: %w", pod.Name, context.Cause(ctx))
			}
		}
	}
	e.mu.Lock()
	n := e.nodes
	e.mu.Unlock()
	if n == nil {
		return nil
	}
	_, err := n.retarget(ctx)
	return err
}

func containerID(pod *corev1.Pod, name string) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == name {
			for i := range c.ContainerID {
				if i > 2 && c.ContainerID[i-3:i] == "://" {
					return c.ContainerID[i:]
				}
			}
		}
	}
	return ""
}

func inPod(pod *corev1.Pod, s deploy.Service) fastpath.Container {
	return fastpath.Container{Namespace: pod.Namespace, Pod: pod.Name, UID: string(pod.UID), Name: s.Container, Command: "/devloop-supervise"}
}

// notStarted says with the end of its log why a program did not come up.
func (e *Env) notStarted(ctx context.Context, s deploy.Service, pod *corev1.Pod, err error) error {
	var exited *fastpath.Exited
	var late *fastpath.NotReady
	if !errors.As(err, &exited) && !errors.As(err, &late) {
		return err
	}
	what := "not ready"
	if exited != nil {
		what = "the program " + exited.How() + " before it was ready"
	} else {
		what = late.What
	}
	tail, logErr := e.deployer.Log(ctx, pod.Namespace, pod.Name, s.Container, false)
	if logErr != nil {
		e.o.Log.Debug("no log", "pod", pod.Name, "err", logErr)
	}
	return &StartError{Service: s.Name, What: what, Tail: tail, Hint: e.logHint(pod, s)}
}

func (e *Env) logHint(pod *corev1.Pod, s deploy.Service) string {
	return fmt.Sprintf("kubectl --kubeconfig %s -n %s logs %s -c %s", e.cluster.Kubeconfig, pod.Namespace, pod.Name, s.Container)
}

// startError tells why a rollout hangs in the words of this package.
func startError(err error) error {
	var h *deploy.HangError
	if errors.As(err, &h) {
		return &StartError{Service: h.Service, What: h.What, Tail: h.Log, Hint: h.Hint}
	}
	return err
}

// watch follows what the supervisor of a container says, while its pod is there. The answer gets what it says first, and
// is closed.
func (e *Env) watch(s deploy.Service, in fastpath.Container) <-chan supervise.Event {
	first := make(chan supervise.Event, 1)
	e.follow.Go(func() {
		told := sync.OnceFunc(func() { close(first) })
		defer func() {
			told()
			e.mu.Lock()
			delete(e.watched, in.UID+"/"+in.Name)
			e.mu.Unlock()
		}()
		begun := false
		for e.ctx.Err() == nil {
			err := e.fast.Watch(e.ctx, in, func(ev supervise.Event) {
				if !begun {
					first <- ev
				}
				begun = true
				told()
				e.heard(s, in, ev)
			})
			told() // it cannot be asked
			var forbidden *fastpath.Forbidden
			if e.ctx.Err() != nil || !e.there(in) || errors.As(err, &forbidden) {
				return
			}
			begun = true
			e.o.Log.Debug("a container is watched again", "container", in.String(), "err", err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-e.ctx.Done():
			}
		}
	})
	return first
}

// heard notes what a supervisor said, and tells when a program ended that had been asked to run.
func (e *Env) heard(s deploy.Service, in fastpath.Container, ev supervise.Event) {
	e.mu.Lock()
	run := e.services[s.Name]
	again := run != nil && run.said[in.UID] == ev
	serves := run != nil && run.pushed[in.UID] // before, whoever pushes tells of it
	if run != nil {
		run.said[in.UID] = ev
	}
	e.mu.Unlock()
	if ev.Phase != supervise.PhaseExited || again || !serves || ev.Build != run.build.ID {
		return
	}
	tail, _ := e.deployer.Log(e.ctx, in.Namespace, in.Pod, in.Name, false) // none is fine
	e.crash(Crash{Service: s.Name, What: fmt.Sprintf("%s in pod %s %s", s.Name, in.Pod, ev.How()), Tail: tail})
}

// crash tells of a crash unless nobody listens.
func (e *Env) crash(c Crash) {
	select {
	case e.crashed <- c:
	default:
		e.o.Log.Warn("more crashes than anybody reads of", "crash", c.What)
	}
}

// there says whether a pod is still the one that it was.
func (e *Env) there(in fastpath.Container) bool {
	return slices.ContainsFunc(e.ids.Pods(), func(p *corev1.Pod) bool { return string(p.UID) == in.UID && p.DeletionTimestamp == nil })
}

// Verify says which pods of services whose program is pushed do not run their service's build: what they answered is not
// of this revision. To pods that came anew it is pushed, so that the next revision has them.
func (e *Env) Verify(ctx context.Context) ([]string, error) {
	var found []string
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(e.plan.Services)) {
		s := e.plan.Services[name]
		e.mu.Lock()
		run := e.services[name]
		e.mu.Unlock()
		if !s.Fast || run == nil || run.program == nil {
			continue
		}
		pods, err := e.deployer.Pods(ctx, e.plan, s)
		if err != nil {
			return found, err
		}
		for _, pod := range pods {
			e.mu.Lock()
			said, pushed := run.said[string(pod.UID)], run.pushed[string(pod.UID)]
			e.mu.Unlock()
			switch {
			case !pushed:
				found = append(found, fmt.Sprintf("pod %s of %s came up meanwhile, without build %s", pod.Name, name, run.build.ID))
				errs = append(errs, e.renew(ctx, s, run))
			case said.Phase == supervise.PhaseExited:
				found = append(found, fmt.Sprintf("the program in pod %s of %s %s", pod.Name, name, said.How()))
			case said.Build != run.build.ID:
				found = append(found, fmt.Sprintf("pod %s of %s runs build %q, and not %s", pod.Name, name, said.Build, run.build.ID))
			}
		}
	}
	return found, errors.Join(errs...)
}

// renew pushes to the pods of a service that have not been pushed to, and returns when they serve.
func (e *Env) renew(ctx context.Context, s deploy.Service, run *service) error {
	ctx, cancel := context.WithTimeout(ctx, runningBound)
	defer cancel()
	pods, err := e.deployer.WaitRunning(ctx, e.plan, s)
	if err != nil {
		return startError(err)
	}
	e.mu.Lock()
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return run.pushed[string(p.UID)] })
	e.mu.Unlock()
	if err := e.push(ctx, s, run, pods); err != nil {
		return startError(err)
	}
	if _, err := e.deployer.WaitReady(ctx, e.plan, s); err != nil {
		return startError(err)
	}
	return e.reachable(ctx, s)
}

// Image makes the image of a service with dockerfile: and puts it into the nodes; that of one with image: is put there when
// this machine's engine has it, and pulled by the cluster otherwise. It returns the image's name.
func (e *Env) Image(ctx context.Context, name string) (string, error) {
	s := e.o.Config.Services[name]
	switch {
	case s.Dockerfile != "":
		return e.buildImage(ctx, name, s)
	case s.Image == "":
		return "", errors.New("it has none of go:, dockerfile: and image:, one of which it needs in a cluster")
	case e.o.Where != Kind:
		return s.Image, nil
	}
	img, err := image.FromEngine(ctx, s.Image)
	if err != nil {
		e.o.Log.Debug("the engine does not have an image; the cluster pulls it", "image", s.Image, "err", err)
		return s.Image, nil
	}
	defer img.Close()
	_, err = image.Load(ctx, e.cluster, img)
	return s.Image, err
}

func (e *Env) buildImage(ctx context.Context, name string, s config.Service) (string, error) {
	if e.o.Where != Kind {
		return "", errors.New("a dockerfile: can be built for kind clusters only; push its image to a registry, and name it as image:")
	}
	file := filepath.Join(e.o.Workspace, s.Dockerfile)
	draft := deploy.ImagePrefix + name + ":draft"
	img, err := image.BuildDockerfile(ctx, image.DockerSpec{Name: draft, Dir: filepath.Join(e.o.Workspace, s.Dir), File: file, Arch: e.arch})
	if err != nil {
		return "", err
	}
	defer img.Close()
	ref := deploy.ImagePrefix + name + ":" + digestTag(img.Digest)
	named, err := img.As(ref)
	if err != nil {
		return "", err
	}
	_, err = image.Load(ctx, e.cluster, named)
	return ref, err
}

// Running lists services and dependencies with their pods.
func (e *Env) Running() []Running {
	if e.plan == nil {
		return nil
	}
	pods := map[string][]*corev1.Pod{}
	for _, p := range e.ids.Pods() {
		if p.Labels[deploy.LabelWorkspace] == e.o.Hash && p.DeletionTimestamp == nil {
			pods[p.Labels[deploy.LabelService]] = append(pods[p.Labels[deploy.LabelService]], p)
		}
	}
	var all []Running
	for _, name := range slices.Sorted(maps.Keys(e.plan.Services)) {
		r := Running{Name: name, Kind: e.plan.Services[name].Role}
		for _, p := range pods[name] {
			r.Pods = append(r.Pods, p.Name)
			r.IP = p.Status.PodIP
		}
		slices.Sort(r.Pods)
		e.mu.Lock()
		if run := e.services[name]; run != nil {
			r.Build = run.build.ID
		}
		e.mu.Unlock()
		if len(r.Pods) > 0 {
			all = append(all, r)
		}
	}
	return all
}
