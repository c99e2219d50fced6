package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Deployer applies and removes objects in one cluster. While the API server does not answer it tries again for half a
// minute.
type Deployer struct {
	// Say tells what is waited for and what is done that nobody asked for, a sentence each, never two at a time; nil is
	// silent. It is set before the first use.
	Say func(string)

	saying sync.Mutex

	client   kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
	mapper   *restmapper.DeferredDiscoveryRESTMapper
}

// NewDeployer makes one.
func NewDeployer(config *rest.Config) (*Deployer, error) {
	d := &Deployer{}
	config = rest.CopyConfig(config)
	config.Wrap(d.patiently)
	config.WarningHandler = &warnings{say: d.say}
	var err error
	if d.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("speak to the cluster: %w", err)
	}
	if d.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("speak to the cluster: %w", err)
	}
	if d.metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("speak to the cluster: %w", err)
	}
	d.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d.client.Discovery()))
	return d, nil
}

func (d *Deployer) say(format string, args ...any) {
	if d.Say != nil {
		d.saying.Lock()
		defer d.saying.Unlock()
		d.Say(fmt.Sprintf(format, args...))
	}
}

// Namespace makes the namespace where there is none. One that is on its way out is waited for.
func (d *Deployer) Namespace(ctx context.Context, p *Plan) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	said := false
	for {
		ns, err := d.client.CoreV1().Namespaces().Get(ctx, p.Namespace, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": p.Namespace}}}
			p.mark(object)
			_, err := d.Apply(ctx, []*unstructured.Unstructured{object})
			return err
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("look for namespace %s: %w", p.Namespace, explain(err, nil))
		case err == nil && ns.DeletionTimestamp == nil:
			return nil
		case err == nil && !said:
			said = true
			d.say("namespace %s is being deleted: waiting until it is gone", p.Namespace)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("namespace %s is being deleted and does not go%s: %w", p.Namespace, stuck(ns), context.Cause(ctx))
		}
	}
}

// stuck says what a namespace waits for before it goes.
func stuck(o metav1.Object) string {
	if ns, ok := o.(interface{ GetFinalizers() []string }); ok && len(ns.GetFinalizers()) > 0 {
		return " (finalizers: " + strings.Join(ns.GetFinalizers(), ", ") + ")"
	}
	return ""
}

// together is how many objects are applied at the same time.
const together = 16

// Apply applies objects by the server, those that are there as they were applied last left out: kinds that others need
// first come first, and what is of one rank goes at the same time. It returns what it applied, as kind/name.
func (d *Deployer) Apply(ctx context.Context, objects []*unstructured.Unstructured) ([]string, error) {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a.GetKind()) - rank(b.GetKind()) })
	var applied []string
	for len(objects) > 0 {
		n := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return rank(o.GetKind()) != rank(objects[0].GetKind()) })
		if n < 0 {
			n = len(objects)
		}
		names, err := d.applyAll(ctx, objects[:n])
		applied = append(applied, names...)
		if err != nil {
			return applied, err
		}
		objects = objects[n:]
	}
	return applied, nil
}

// applyAll applies objects that do not need each other. All of their errors are told.
func (d *Deployer) applyAll(ctx context.Context, objects []*unstructured.Unstructured) ([]string, error) {
	changed, errs := make([]bool, len(objects)), make([]error, len(objects))
	have := d.lists(ctx, objects)
	var g errgroup.Group
	g.SetLimit(together)
	for i, o := range objects {
		g.Go(func() error {
			changed[i], errs[i] = d.apply(ctx, o, have)
			if errs[i] == nil && changed[i] && o.GetKind() == "CustomResourceDefinition" {
				errs[i] = d.established(ctx, o)
			}
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	var applied []string
	var told []error
	for i, o := range objects {
		if changed[i] {
			applied = append(applied, Ref(o))
		}
		var gone *UnreachableError
		if errors.As(errs[i], &gone) {
			return applied, fmt.Errorf("apply %s: %w", Ref(o), gone) // all say the same
		}
		if errs[i] != nil {
			told = append(told, &RefusedError{Object: Ref(o), Source: sourceOf(o), Err: explain(errs[i], o)})
		}
	}
	return applied, errors.Join(told...)
}

// Ref is kind/name.
func Ref(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + o.GetName()
}

// apply applies an object unless it is there as it was applied last, and says whether it did.
func (d *Deployer) apply(ctx context.Context, o *unstructured.Unstructured, have lists) (bool, error) {
	mapping, err := d.mapping(o)
	if err != nil {
		return false, err
	}
	o = stripped(o)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		o.SetNamespace("")
	}
	there, err := d.there(ctx, mapping.Resource, o, have)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	ours := err != nil
	if err == nil {
		if ours, err = d.belongs(o, there); err != nil {
			return false, err
		}
		if !ours { // it was there before: it stays when we go, so it is not labelled
			labels := o.GetLabels()
			for _, l := range []string{LabelManagedBy, LabelWorkspace, LabelPlanned} {
				delete(labels, l)
			}
			o.SetLabels(labels)
		}
	}
	spec, err := hash(o)
	if err != nil {
		return false, err
	}
	if err == nil && there != nil && there.Annotations[AnnotationSpec] == spec && there.DeletionTimestamp == nil {
		return false, nil
	}
	annotate(o, AnnotationSpec, spec)
	resource := d.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace())
	_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: Manager, Force: ours})
	if immutable(err) && ours && replaceable(o.GetKind()) {
		return true, d.replace(ctx, resource, o, err)
	}
	return err == nil, err
}

// lists are the objects of a kind in a namespace, by name.
type lists map[listOf]map[string]*metav1.PartialObjectMetadata

type listOf struct {
	resource  schema.GroupVersionResource
	namespace string
}

// lists asks for what is there of kinds that several objects are of, so that a plan that did not change costs few requests.
// What cannot be listed is asked for one by one.
func (d *Deployer) lists(ctx context.Context, objects []*unstructured.Unstructured) lists {
	count := map[listOf]int{}
	for _, o := range objects {
		if mapping, err := d.mapping(o); err == nil && o.GetNamespace() != "" && mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			count[listOf{mapping.Resource, o.GetNamespace()}]++
		}
	}
	all := lists{}
	for of, n := range count {
		if n < 3 {
			continue
		}
		list, err := d.metadata.Resource(of.resource).Namespace(of.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		all[of] = map[string]*metav1.PartialObjectMetadata{}
		for i := range list.Items {
			all[of][list.Items[i].Name] = &list.Items[i]
		}
	}
	return all
}

// there is what the cluster has of an object.
func (d *Deployer) there(ctx context.Context, resource schema.GroupVersionResource, o *unstructured.Unstructured, have lists) (*metav1.PartialObjectMetadata, error) {
	if list, ok := have[listOf{resource, o.GetNamespace()}]; ok {
		if found := list[o.GetName()]; found != nil {
			return found, nil
		}
		return nil, apierrors.NewNotFound(resource.GroupResource(), o.GetName())
	}
	return d.metadata.Resource(resource).Namespace(o.GetNamespace()).Get(ctx, o.GetName(), metav1.GetOptions{})
}

// stripped is an object as it is applied.
func stripped(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	if annotations := o.GetAnnotations(); annotations[annotationSource] != "" {
		delete(annotations, annotationSource)
		o.SetAnnotations(annotations)
		if len(annotations) == 0 {
			unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
		}
	}
	for _, field := range [][]string{{"status"}, {"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "uid"}, {"metadata", "creationTimestamp"}} {
		unstructured.RemoveNestedField(o.Object, field...) // of what `kubectl get -o yaml` wrote
	}
	return o
}

func hash(o *unstructured.Unstructured) (string, error) {
	text, err := json.Marshal(o.Object)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}

func annotate(o *unstructured.Unstructured, key, value string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	o.SetAnnotations(annotations)
}

// belongs says whether an object in the cluster is this workspace's. One of another workspace is not touched, unless
// both want the same of it.
func (d *Deployer) belongs(o *unstructured.Unstructured, there *metav1.PartialObjectMetadata) (bool, error) {
	owner, mine := there.Labels[LabelWorkspace], o.GetLabels()[LabelWorkspace]
	if mine == "" || owner == mine {
		return true, nil
	}
	if owner != "" && there.Labels[LabelManagedBy] == Manager && o.GetNamespace() != "" {
		return false, fmt.Errorf("it belongs to another workspace of devloop (%s)\nhint: give this workspace a namespace of its own: environment.kind.namespace", owner)
	}
	return false, nil
}

// mapping finds where objects of a kind live. What was discovered before is forgotten when a kind is missing: its
// definition may have been applied just now.
func (d *Deployer) mapping(o *unstructured.Unstructured) (*meta.RESTMapping, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		d.mapper.Reset()
		mapping, err = d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	return mapping, err
}

// established waits until the server serves a new kind.
func (d *Deployer) established(ctx context.Context, o *unstructured.Unstructured) error {
	mapping, err := d.mapping(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("the cluster does not serve the new kind after 10 s"))
	defer cancel()
	for {
		there, err := d.dynamic.Resource(mapping.Resource).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err == nil {
			conditions, _, _ := unstructured.NestedSlice(there.Object, "status", "conditions")
			for _, c := range conditions {
				m, _ := c.(map[string]any)
				if asText(m["status"]) == "True" && asText(m["type"]) == "Established" {
					return nil
				}
				if asText(m["status"]) == "False" && asText(m["type"]) == "NamesAccepted" {
					return fmt.Errorf("the cluster does not take its names: %s", asText(m["message"]))
				}
			}
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// replaceable kinds may be deleted and made again when a field changes that Kubernetes does not let change: nothing but
// pods is lost.
func replaceable(kind string) bool {
	return slices.Contains([]string{
		"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod", "Service", "ConfigMap", "Secret", "RoleBinding", "ClusterRoleBinding", "PodDisruptionBudget",
	}, kind)
}

// replaceBound is how long an object of ours and its pods may take to go.
const replaceBound = 60 * time.Second

// replace deletes an object of ours with its pods, and applies it again.
func (d *Deployer) replace(ctx context.Context, resource dynamic.ResourceInterface, o *unstructured.Unstructured, why error) error {
	d.say("%s: %s: it is deleted and made again", Ref(o), cut(unchangeable(why)))
	ctx, cancel := context.WithTimeoutCause(ctx, replaceBound, fmt.Errorf("it had to be deleted, and did not go within %s", replaceBound))
	defer cancel()
	err := resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: ptr(metav1.DeletePropagationForeground)})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	for {
		_, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: Manager, Force: true})
			return err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
