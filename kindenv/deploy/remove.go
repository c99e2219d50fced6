package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// found is an object that bears the workspace's label.
type found struct {
	resource schema.GroupVersionResource
	kind     string
	metav1.PartialObjectMetadata
}

func (f *found) ref() string { return strings.ToLower(f.kind) + "/" + f.Name }

// Prune deletes what an earlier plan of the workspace had and this one has no more, in the namespaces of this plan. Volume
// claims stay until [Deployer.Remove]: data is in them. It returns what it deleted, as kind/name, and does not wait for the end.
func (d *Deployer) Prune(ctx context.Context, p *Plan) ([]string, error) {
	namespaces, keep := map[string]bool{p.Namespace: true}, map[string]bool{}
	for _, o := range p.Objects {
		if o.GetNamespace() != "" {
			namespaces[o.GetNamespace()] = true
		}
		keep[o.GroupVersionKind().GroupKind().String()+" "+o.GetNamespace()+"/"+o.GetName()] = true
	}
	kinds, err := d.kinds()
	if err != nil {
		return nil, err
	}
	kinds = slices.DeleteFunc(kinds, func(k metav1.APIResource) bool { return !k.Namespaced || k.Kind == "PersistentVolumeClaim" })
	var all []*found
	for namespace := range namespaces {
		some, err := d.labelled(ctx, kinds, namespace, LabelWorkspace+"="+p.Workspace+","+LabelPlanned+"=true")
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	var deleted []string
	var errs []error
	for _, f := range all {
		key := schema.GroupKind{Group: f.resource.Group, Kind: f.kind}.String() + " " + f.Namespace + "/" + f.Name
		if keep[key] || !applied(&f.PartialObjectMetadata) || f.DeletionTimestamp != nil {
			continue
		}
		if err := d.delete(ctx, f); err != nil {
			errs = append(errs, err)
			continue
		}
		deleted = append(deleted, f.ref())
	}
	return deleted, errors.Join(errs...)
}

// applied says whether devloop applied an object itself. Controllers copy labels to what they make, such as Endpoints.
func applied(o *metav1.PartialObjectMetadata) bool {
	return len(o.OwnerReferences) == 0 && slices.ContainsFunc(o.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == Manager && f.Operation == metav1.ManagedFieldsOperationApply
	})
}

func (d *Deployer) delete(ctx context.Context, f *found) error {
	err := d.metadata.Resource(f.resource).Namespace(f.Namespace).Delete(ctx, f.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr(metav1.DeletePropagationBackground), Preconditions: &metav1.Preconditions{UID: &f.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // gone, or another one by now
		return fmt.Errorf("delete %s: %w", f.ref(), explain(err, nil))
	}
	return nil
}

// Remove deletes everything that bears the workspace's label, the namespace where it is ours, and waits until it is
// gone. It returns what it removed; what does not go is named.
func (d *Deployer) Remove(ctx context.Context, workspace string) ([]string, error) {
	kinds, err := d.kinds()
	if err != nil {
		return nil, err
	}
	var removed []string
	failed := map[string]error{} // by kind/name
	var left []*found
	for {
		now, err := d.labelled(ctx, kinds, "", LabelWorkspace+"="+workspace)
		switch {
		case err != nil && ctx.Err() != nil && len(left) > 0: // the time ran out while it asked: what it saw last is the answer
			return removed, leftovers(left, context.Cause(ctx))
		case err != nil:
			return removed, err
		}
		left = now
		waiting := 0
		for _, f := range left {
			if failed[f.ref()] != nil {
				continue
			}
			waiting++
			if f.DeletionTimestamp != nil || len(f.OwnerReferences) > 0 {
				continue
			}
			if err := d.delete(ctx, f); err != nil {
				if ctx.Err() != nil { // whether it was asked to go is not known
					return removed, leftovers(left, context.Cause(ctx))
				}
				failed[f.ref()] = err
				waiting--
				continue
			}
			if !slices.Contains(removed, f.ref()) {
				removed = append(removed, f.ref())
			}
		}
		if waiting == 0 {
			var errs []error
			for _, name := range sortedKeys(failed) {
				errs = append(errs, failed[name])
			}
			return removed, errors.Join(errs...)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return removed, leftovers(left, context.Cause(ctx))
		}
	}
}

// leftovers names what did not go, with what holds it.
func leftovers(left []*found, cause error) error {
	var names []string
	for _, f := range left {
		name := f.ref()
		if f.Namespace != "" {
			name = "-n " + f.Namespace + " " + name
		}
		if len(f.Finalizers) > 0 {
			name += " (finalizers: " + strings.Join(f.Finalizers, ", ") + ")"
		}
		names = append(names, name)
	}
	return fmt.Errorf("%s did not go: %w\nhint: kubectl describe says what holds them", strings.Join(atMost(names, 10), ", "), cause)
}

func sortedKeys(m map[string]error) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// kinds are those whose objects can be listed and deleted, in their preferred versions.
func (d *Deployer) kinds() ([]metav1.APIResource, error) {
	lists, err := d.client.Discovery().ServerPreferredResources()
	if len(lists) == 0 && err != nil {
		return nil, fmt.Errorf("ask the cluster what it has: %w", explain(err, nil))
	}
	var all []metav1.APIResource
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			if slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "delete") && r.Name != "events" && r.Name != "endpoints" { // they go with their services
				r.Group, r.Version = gv.Group, gv.Version
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// labelled lists what matches a selector in a namespace, or in all. What has an owner, such as a pod, goes with it and is waited for.
func (d *Deployer) labelled(ctx context.Context, kinds []metav1.APIResource, namespace, selector string) ([]*found, error) {
	lists := make([][]*found, len(kinds))
	g, inside := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for i, k := range kinds {
		g.Go(func() error {
			resource := schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Name}
			list, err := d.metadata.Resource(resource).Namespace(namespace).List(inside, metav1.ListOptions{LabelSelector: selector})
			if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("list %s: %w", k.Name, err)
			}
			for _, item := range list.Items {
				lists[i] = append(lists[i], &found{resource, k.Kind, item})
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(lists...)
	// The namespace comes last: while it goes nothing can be said of what is in it.
	slices.SortStableFunc(all, func(a, b *found) int { return rank(b.kind) - rank(a.kind) })
	return all, nil
}
