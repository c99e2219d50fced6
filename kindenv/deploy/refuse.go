package deploy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// RefusedError says what the cluster did not take, and where it is written.
type RefusedError struct {
	Object string // kind/name
	Source string // "deploy/payment.yaml:12"; empty where devloop made it
	Err    error
}

// Error is the sentence.
func (e *RefusedError) Error() string {
	if e.Source != "" {
		return fmt.Sprintf("%s: apply %s: %v", e.Source, e.Object, e.Err)
	}
	return fmt.Sprintf("apply %s: %v", e.Object, e.Err)
}

// Unwrap is what the cluster said.
func (e *RefusedError) Unwrap() error { return e.Err }

// explained is a refusal in plain words, with the error that it explains.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// forbidden is how the API server words what a user may not do.
var forbidden = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)"| at the cluster scope)?`)

// Explain says in plain words what a refusal of the API server means, such as which right is missing.
func Explain(err error) error { return explain(err, nil) }

// explain says of a refusal what it means here; o may be nil.
func explain(err error, o *unstructured.Unstructured) error {
	var status apierrors.APIStatus
	errors.As(err, &status)
	say := func(format string, args ...any) error { return &explained{fmt.Sprintf(format, args...), err} }
	switch {
	case err == nil:
		return nil
	case meta.IsNoMatchError(err) && o != nil:
		return say("the cluster knows no %s of %s: the CustomResourceDefinition is missing\nhint: add it to the manifests, or install what brings it", o.GetKind(), o.GetAPIVersion())
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return say("namespace %s is being deleted\nhint: wait until it is gone and try again; a new one is made then", where(o))
	case apierrors.IsNotFound(err) && status != nil && details(status).Kind == "namespaces":
		return say("there is no namespace %s\nhint: add it to the manifests, or leave metadata.namespace out", details(status).Name)
	case apierrors.IsForbidden(err):
		return forbid(err, say)
	case apierrors.IsConflict(err) && len(causes(status)) > 0:
		return say("others set these fields: %s\nhint: it was there before devloop, so it is left to them: delete it, or give this workspace a namespace of its own", conflicts(status))
	case immutable(err):
		return say("%s, and it is not devloop's to delete and make again\nhint: kubectl delete %s, if nothing is lost with it", unchangeable(err), target(o))
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return say("the cluster does not take it: %s", fields(err, status))
	case schemaMessage.MatchString(err.Error()):
		return say("the cluster does not take it: %s", schemaMessage.FindStringSubmatch(err.Error())[1])
	}
	return err
}

// schemaMessage is what server-side apply says of a field that the kind does not have, or of a wrong type.
var schemaMessage = regexp.MustCompile(`(?s)failed to create typed patch object \([^)]*\): (.*)$`)

func where(o *unstructured.Unstructured) string {
	if o == nil {
		return "of the object"
	}
	return o.GetNamespace()
}

func target(o *unstructured.Unstructured) string {
	if o == nil {
		return "it"
	}
	if o.GetNamespace() == "" {
		return Ref(o)
	}
	return "-n " + o.GetNamespace() + " " + Ref(o)
}

func details(status apierrors.APIStatus) metav1.StatusDetails {
	if d := status.Status().Details; d != nil {
		return *d
	}
	return metav1.StatusDetails{}
}

func causes(status apierrors.APIStatus) []metav1.StatusCause {
	if status == nil {
		return nil
	}
	return details(status).Causes
}

// forbid tells rights, which the administrator gives, from rules of the cluster, which the manifest breaks.
func forbid(err error, say func(string, ...any) error) error {
	text := err.Error()
	if m := forbidden.FindStringSubmatch(text); m != nil {
		user, verb, resource, group, namespace := m[1], m[2], m[3], m[4], m[5]
		if group != "" {
			resource += "." + group
		}
		scope, flag := "in the whole cluster", ""
		if namespace != "" {
			scope, flag = "in namespace "+namespace, " -n "+namespace
		}
		return say("user %s may not %s %s %s\nhint: ask for this right; kubectl auth can-i %s %s%s tells whether you have it", user, verb, resource, scope, verb, resource, flag)
	}
	if _, rule, ok := strings.Cut(text, "exceeded quota: "); ok {
		return say("the namespace's quota is used up: %s", rule)
	}
	if _, rule, ok := strings.Cut(text, "violates PodSecurity "); ok {
		return say("the namespace's pod security does not allow it: %s", rule)
	}
	return say("the cluster forbids it: %s", text)
}

// conflicts names fields by the manager that has them.
func conflicts(status apierrors.APIStatus) string {
	var all []string
	for _, c := range causes(status) {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			all = append(all, strings.TrimSpace(c.Field+" ("+strings.TrimPrefix(c.Message, "conflict with ")+")"))
		}
	}
	return strings.Join(atMost(all, 5), ", ")
}

// fields names what is wrong with which field.
func fields(err error, status apierrors.APIStatus) string {
	var all []string
	for _, c := range causes(status) {
		all = append(all, strings.TrimSpace(c.Field+": "+c.Message))
	}
	if len(all) == 0 {
		return cut(err.Error())
	}
	slices.Sort(all)
	return strings.Join(atMost(slices.Compact(all), 5), "; ")
}

func atMost(all []string, n int) []string {
	if len(all) > n {
		return append(slices.Clone(all[:n]), fmt.Sprintf("and %d more", len(all)-n))
	}
	return all
}

var unchanging = []string{"field is immutable", "updates to statefulset spec for fields other than", "pod updates may not change fields other than", "may not change once set", "cannot change roleRef"}

// immutable says whether an object is refused because a field of it changed that may not change.
func immutable(err error) bool {
	return apierrors.IsInvalid(err) && slices.ContainsFunc(unchanging, func(s string) bool { return strings.Contains(err.Error(), s) })
}

// unchangeable names the fields.
func unchangeable(err error) string {
	var status apierrors.APIStatus
	errors.As(err, &status)
	var all []string
	for _, c := range causes(status) {
		if slices.ContainsFunc(unchanging, func(s string) bool { return strings.Contains(c.Message, s) }) {
			all = append(all, c.Field)
		}
	}
	slices.Sort(all)
	return fmt.Sprintf("its %s changed, which Kubernetes does not allow", strings.Join(slices.Compact(all), ", "))
}
