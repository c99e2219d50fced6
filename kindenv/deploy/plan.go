package deploy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// Labels and annotations of what devloop deploys.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelName      = "app.kubernetes.io/name"
	LabelWorkspace = "devloop.dev/workspace"
	LabelRole      = "devloop.dev/role" // service, dependency or exercise
	LabelService   = "devloop.dev/service"
	LabelPlanned   = "devloop.dev/planned" // of what goes when the plan no longer has it
	AnnotationSpec = "devloop.dev/spec"    // hash of the object as it was applied
	Manager        = "devloop"
)

// Options of [New].
type Options struct {
	Config     *config.Config
	Namespace  string
	Workspace  string                       // hash that everything of this workspace is labelled with
	Supervisor string                       // image of the supervisor
	Images     map[string]string            // images of services with dockerfile:, by service
	Env        map[string]map[string]string // of services whose program is not pushed, by service
	Manifests  []config.Manifest            // files, folders, Kustomize folders and charts
}

// Plan is what a workspace's services are in a cluster.
type Plan struct {
	Namespace string
	Workspace string
	// Objects in the order in which they are applied.
	Objects []*unstructured.Unstructured
	// Services and dependencies by name.
	Services map[string]Service
	// Notes are sentences about what of the manifests is not deployed.
	Notes []string
}

// Service is where a service of devloop.yaml runs.
type Service struct {
	Name      string
	Role      string // traffic.KindService or traffic.KindDependency
	Kind      string // of the workload: Deployment, StatefulSet, DaemonSet, …; empty where the manifests have none for it
	Workload  string // its name
	Container string // that runs the service
	Fast      bool   // its program is pushed
	Args      []string
	Selector  map[string]string // labels of its pods
}

// New plans: devloop.yaml's services, with what the manifests say of them.
func New(o Options) (*Plan, error) {
	p := &Plan{Namespace: o.Namespace, Workspace: o.Workspace, Services: map[string]Service{}}
	given, notes, err := readManifests(o.Config.Dir, p.Namespace, o.Manifests)
	if err != nil {
		return nil, err
	}
	p.Notes = notes
	for _, object := range given {
		p.place(object)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Config.Services)) {
		if err := p.service(o, name, given); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Config.Dependencies)) {
		if err := p.dependency(o, name, given); err != nil {
			return nil, err
		}
	}
	for _, object := range p.Objects {
		p.mark(object)
		labels := object.GetLabels()
		labels[LabelPlanned] = "true"
		object.SetLabels(labels)
	}
	slices.SortStableFunc(p.Objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Compare(rank(a.GetKind()), rank(b.GetKind()))
	})
	return p, nil
}

// order is what other objects need first; everything else comes last.
var order = []string{
	"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding",
	"ConfigMap", "Secret", "PersistentVolume", "PersistentVolumeClaim", "Service", "NetworkPolicy",
}

func rank(kind string) int {
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return len(order)
}

// place takes an object of the manifests into the plan. Objects without a namespace come into the workspace's.
func (p *Plan) place(object *unstructured.Unstructured) {
	if object.GetNamespace() == "" && !clusterScoped(object.GetKind()) {
		object.SetNamespace(p.Namespace)
	}
	p.Objects = append(p.Objects, object)
}

// clusterScoped names the kinds that have no namespace. Of kinds that it does not know the server is asked when they
// are applied.
func clusterScoped(kind string) bool {
	switch kind {
	case "Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ClusterRole", "ClusterRoleBinding", "PersistentVolume",
		"IngressClass", "RuntimeClass", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService", "Node":
		return true
	}
	return false
}

// mark labels an object as ours.
func (p *Plan) mark(object *unstructured.Unstructured) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelManagedBy], labels[LabelWorkspace] = Manager, p.Workspace
	object.SetLabels(labels)
}

// service finds the workload of a service in the manifests, or makes one.
func (p *Plan) service(o Options, name string, given []*unstructured.Unstructured) error {
	s := o.Config.Services[name]
	if s.Command != "" {
		return fmt.Errorf("service %s: it has command:, which runs on this machine only; in a cluster it needs go:, dockerfile: or image:", name)
	}
	image := s.Image
	if s.Dockerfile != "" {
		image = o.Images[name]
	}
	if s.Go != "" {
		image = o.Supervisor
	}
	workload := find(given, workloadKinds, name)
	if workload == nil {
		workload = p.generate(podSpec{
			name: name, role: traffic.KindService, image: image, fast: s.Go != "", ports: s.Ports, ready: s.Ready,
		})
		p.place(workload)
	}
	return p.adopt(adoption{name, traffic.KindService, s.Ports, s.Go != "", image, o.Env[name]}, workload, given)
}

func (p *Plan) dependency(o Options, name string, given []*unstructured.Unstructured) error {
	d := o.Config.Dependencies[name]
	workload := find(given, workloadKinds, name)
	if workload == nil && d.Image == "" {
		if find(given, []string{"Service"}, name) != nil {
			p.Services[name] = Service{Name: name, Role: traffic.KindDependency} // of somebody else, outside of the cluster
			return nil
		}
		return fmt.Errorf("dependency %s: it has no image:, and the manifests have no Deployment, StatefulSet or Service of that name", name)
	}
	if workload == nil {
		workload = p.generate(podSpec{name: name, role: traffic.KindDependency, image: d.Image, ports: d.Ports, ready: d.Ready})
		p.place(workload)
	}
	return p.adopt(adoption{name, traffic.KindDependency, d.Ports, false, "", d.Env}, workload, given)
}

var workloadKinds = []string{"Deployment", "StatefulSet", "DaemonSet"}

// find is the object of one of the kinds with a name, or with the label that names it so.
func find(objects []*unstructured.Unstructured, kinds []string, name string) *unstructured.Unstructured {
	for _, o := range objects {
		if slices.Contains(kinds, o.GetKind()) && o.GetName() == name {
			return o
		}
	}
	for _, o := range objects {
		if slices.Contains(kinds, o.GetKind()) && o.GetLabels()[LabelName] == name {
			return o
		}
	}
	return nil
}

// adoption is what devloop does to a workload.
type adoption struct {
	name, role string
	ports      map[string]int
	fast       bool
	image      string // instead of the workload's own; empty leaves it
	env        map[string]string
}

// adopt labels the pods of a workload and, where its program is pushed, puts the supervisor into its container. A
// Service is made where there are ports and none is given.
func (p *Plan) adopt(a adoption, workload *unstructured.Unstructured, given []*unstructured.Unstructured) error {
	name, role := a.name, a.role
	fields := workload.Object
	where := fmt.Sprintf("%s %s", strings.ToLower(workload.GetKind()), workload.GetName())
	template, ok, err := unstructured.NestedMap(fields, "spec", "template")
	if err != nil || !ok {
		return fmt.Errorf("%s: it has no spec.template", where)
	}
	labels, _, _ := unstructured.NestedStringMap(template, "metadata", "labels")
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelManagedBy], labels[LabelWorkspace], labels[LabelService], labels[LabelRole] = Manager, p.Workspace, name, role
	if err := unstructured.SetNestedStringMap(template, labels, "metadata", "labels"); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	containers, _, err := unstructured.NestedSlice(template, "spec", "containers")
	if err != nil || len(containers) == 0 {
		return fmt.Errorf("%s: it has no containers", where)
	}
	container, err := choose(containers, name)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	found := Service{
		Name: name, Role: role, Kind: workload.GetKind(), Workload: workload.GetName(), Fast: a.fast,
		Selector: map[string]string{LabelWorkspace: p.Workspace, LabelService: name},
	}
	found.Container, _, _ = unstructured.NestedString(container, "name")
	found.Args, _, _ = unstructured.NestedStringSlice(container, "args")
	if a.image != "" {
		container["image"] = a.image
		container["imagePullPolicy"] = "IfNotPresent"
		if strings.HasPrefix(a.image, ImagePrefix) {
			container["imagePullPolicy"] = "Never"
		}
	}
	if a.fast {
		supervised(template, container, found.Container)
	} else {
		setEnv(container, a.env)
	}
	if err := unstructured.SetNestedSlice(template, containers, "spec", "containers"); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if err := unstructured.SetNestedMap(fields, template, "spec", "template"); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	p.Services[name] = found
	if len(a.ports) > 0 && find(given, []string{"Service"}, name) == nil {
		p.place(p.serviceObject(name, role, a.ports))
	}
	return nil
}

// choose is the container named as the service, or the only one.
func choose(containers []any, name string) (map[string]any, error) {
	var names []string
	for _, c := range containers {
		m, ok := c.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("a container is no mapping")
		}
		n, _ := m["name"].(string)
		if n == name || len(containers) == 1 {
			return m, nil
		}
		names = append(names, n)
	}
	return nil, fmt.Errorf("none of its containers (%s) is named %s, and devloop cannot tell which one runs that service", strings.Join(names, ", "), name)
}

// ImagePrefix begins the names of images that devloop makes and loads; no registry has them.
const ImagePrefix = "devloop.local/"

// supervised makes the supervisor the container's first process, with a folder of its own to keep programs in.
func supervised(template, container map[string]any, name string) {
	volume := "devloop-" + name
	container["command"] = []any{"/devloop-supervise", "run"}
	delete(container, "args") // they go to the program, with every push
	mounts, _, _ := unstructured.NestedSlice(container, "volumeMounts")
	container["volumeMounts"] = append(mounts, map[string]any{"name": volume, "mountPath": "/devloop"})
	volumes, _, _ := unstructured.NestedSlice(template, "spec", "volumes")
	volumes = append(volumes, map[string]any{"name": volume, "emptyDir": map[string]any{}})
	_ = unstructured.SetNestedSlice(template, volumes, "spec", "volumes") // spec is a mapping: it had containers
}

// setEnv sets variables of a container; those of the manifests that devloop.yaml does not name stay.
func setEnv(container map[string]any, env map[string]string) {
	if len(env) == 0 {
		return
	}
	list, _, _ := unstructured.NestedSlice(container, "env")
	list = slices.DeleteFunc(list, func(v any) bool {
		m, _ := v.(map[string]any)
		_, named := env[asText(m["name"])]
		return named
	})
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, map[string]any{"name": k, "value": env[k]})
	}
	container["env"] = list
}
