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
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Deployer applies and removes objects in one cluster.
type Deployer struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

// NewDeployer makes one.
func NewDeployer(config *rest.Config) (*Deployer, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("speak to the cluster: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("speak to the cluster: %w", err)
	}
	return &Deployer{client, dyn, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))}, nil
}

// Namespace makes the namespace where there is none. One that is on its way out is waited for.
func (d *Deployer) Namespace(ctx context.Context, p *Plan) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ns, err := d.client.CoreV1().Namespaces().Get(ctx, p.Namespace, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": p.Namespace}}}
			p.mark(object)
			_, err := d.Apply(ctx, []*unstructured.Unstructured{object})
			return err
		case err != nil:
			return fmt.Errorf("look for namespace %s: %w", p.Namespace, err)
		case ns.DeletionTimestamp == nil:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("namespace %s is being deleted and does not go: %w", p.Namespace, context.Cause(ctx))
		}
	}
}

// Apply applies objects by the server, those that are there as they were applied last left out. It returns what it
// applied, as kind/name.
func (d *Deployer) Apply(ctx context.Context, objects []*unstructured.Unstructured) ([]string, error) {
	var applied []string
	for _, o := range objects {
		changed, err := d.apply(ctx, o)
		if err != nil {
			return applied, fmt.Errorf("apply %s: %w", Ref(o), explain(err))
		}
		if changed {
			applied = append(applied, Ref(o))
		}
	}
	return applied, nil
}

// Ref is kind/name.
func Ref(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + o.GetName()
}

// explain says of the commonest refusals what they mean here.
func explain(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the cluster forbids it: %w", err)
	case meta.IsNoMatchError(err):
		return fmt.Errorf("the cluster knows no such kind: its CustomResourceDefinition is missing: %w", err)
	}
	return err
}

func (d *Deployer) apply(ctx context.Context, o *unstructured.Unstructured) (bool, error) {
	resource, err := d.resource(o)
	if err != nil {
		return false, err
	}
	o = o.DeepCopy()
	text, err := json.Marshal(o.Object)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	spec := hex.EncodeToString(sum[:8])
	there, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
	if err == nil && there.GetAnnotations()[AnnotationSpec] == spec && there.GetDeletionTimestamp() == nil {
		return false, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationSpec] = spec
	o.SetAnnotations(annotations)
	_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: Manager, Force: true})
	return true, err
}

// resource finds where objects of a kind live. What was discovered before is forgotten when a kind is missing: its
// definition may have been applied just now.
func (d *Deployer) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		d.mapper.Reset()
		mapping, err = d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return d.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
	}
	return d.dynamic.Resource(mapping.Resource), nil
}

// Remove deletes everything that bears the workspace's label, the namespace where it is ours, and waits until it is
// gone. It returns what it removed.
func (d *Deployer) Remove(ctx context.Context, workspace string) ([]string, error) {
	var removed []string
	var errs []error
	for {
		left, err := d.owned(ctx, workspace)
		if err != nil {
			return removed, errors.Join(append(errs, err)...)
		}
		if len(left) == 0 {
			return removed, errors.Join(errs...)
		}
		for _, o := range left {
			if o.GetDeletionTimestamp() != nil || len(o.GetOwnerReferences()) > 0 {
				continue
			}
			resource, err := d.resource(o)
			if err == nil {
				err = resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: ptr(metav1.DeletePropagationBackground)})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				return removed, fmt.Errorf("delete %s: %w", Ref(o), explain(err))
			}
			removed = append(removed, Ref(o))
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			var names []string
			for _, o := range left {
				names = append(names, Ref(o))
			}
			return removed, fmt.Errorf("%s did not go: %w", strings.Join(names, ", "), context.Cause(ctx))
		}
	}
}

// owned lists what bears the workspace's label, of all kinds that can be listed and deleted. What has an owner, such as
// a pod, goes with it and is waited for.
func (d *Deployer) owned(ctx context.Context, workspace string) ([]*unstructured.Unstructured, error) {
	lists, err := d.client.Discovery().ServerPreferredResources()
	if len(lists) == 0 && err != nil {
		return nil, fmt.Errorf("ask the cluster what it has: %w", err)
	}
	var all []*unstructured.Unstructured
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "delete") || r.Name == "events" {
				continue
			}
			found, err := d.dynamic.Resource(gv.WithResource(r.Name)).List(ctx, metav1.ListOptions{LabelSelector: LabelWorkspace + "=" + workspace})
			if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", r.Name, err)
			}
			for i := range found.Items {
				all = append(all, &found.Items[i])
			}
		}
	}
	// The namespace comes last: while it goes nothing can be said of what is in it.
	slices.SortStableFunc(all, func(a, b *unstructured.Unstructured) int { return rank(b.GetKind()) - rank(a.GetKind()) })
	return all, nil
}
