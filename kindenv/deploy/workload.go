package deploy

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Marked labels objects as the workspace's, for what is deployed beside the plan.
func (p *Plan) Marked(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	for _, o := range objects {
		p.mark(o)
	}
	return objects
}

// Owner is the service or dependency whose workload an object is.
func (p *Plan) Owner(o *unstructured.Unstructured) (Service, bool) {
	for _, s := range p.Services {
		if s.Kind != "" && o.GetKind() == s.Kind && o.GetName() == s.Workload {
			return s, true
		}
	}
	return Service{}, false
}

// Workload is the object that runs a service, nil where the manifests have none.
func (p *Plan) Workload(s Service) *unstructured.Unstructured {
	for _, o := range p.Objects {
		if s.Kind != "" && o.GetKind() == s.Kind && o.GetName() == s.Workload {
			return o
		}
	}
	return nil
}

// Alias makes names resolve in all pods of the plan's services, by address.
func (p *Plan) Alias(hosts map[string][]string) {
	var list []any
	for _, ip := range slices.Sorted(maps.Keys(hosts)) {
		var names []any
		for _, h := range hosts[ip] {
			names = append(names, h)
		}
		list = append(list, map[string]any{"ip": ip, "hostnames": names})
	}
	for _, s := range p.Services {
		if o := p.Workload(s); o != nil {
			_ = unstructured.SetNestedSlice(o.Object, list, "spec", "template", "spec", "hostAliases") // adopt saw the mapping
		}
	}
}

// WithImage is a service's workload with the image, environment and build that it shall run: a build that differs in
// nothing but the environment is rolled out as well.
func WithImage(o *unstructured.Unstructured, s Service, image string, env map[string]string, build string) *unstructured.Unstructured {
	o = o.DeepCopy()
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		m, ok := c.(map[string]any)
		if !ok || m["name"] != s.Container {
			continue
		}
		if image != "" {
			m["image"] = image
		}
		setEnv(m, env)
	}
	_ = unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
	_ = unstructured.SetNestedField(o.Object, build, "spec", "template", "metadata", "annotations", AnnotationBuild)
	return o
}

// WithProgram is the workload of a service whose program lies in an image instead of being pushed. argv begins with the
// program.
func WithProgram(o *unstructured.Unstructured, s Service, image string, argv []string, env map[string]string, build string) *unstructured.Unstructured {
	o = WithImage(o, s, image, env, build)
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		if m, ok := c.(map[string]any); ok && m["name"] == s.Container {
			var command []any
			for _, word := range argv {
				command = append(command, word)
			}
			m["command"] = command
		}
	}
	_ = unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
	return o
}

// AnnotationBuild on a pod says which build of a service it is.
const AnnotationBuild = "devloop.dev/build"
