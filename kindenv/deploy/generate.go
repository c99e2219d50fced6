package deploy

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// podSpec is what devloop.yaml says of a service or dependency that the manifests do not have.
type podSpec struct {
	name, role string
	image      string
	fast       bool
	ports      map[string]int
	ready      *config.Ready
}

// nobody runs the programs that devloop pushes; images keep the user that they name.
const nobody = 65532

// generate makes a Deployment of one replica.
func (p *Plan) generate(s podSpec) *unstructured.Unstructured {
	c := corev1.Container{Name: s.name, Image: s.image, ReadinessProbe: probe(s.ready, s.ports)}
	for _, port := range slices.Sorted(maps.Keys(s.ports)) {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: portName(port), ContainerPort: int32(s.ports[port])})
	}
	pod := corev1.PodSpec{
		Containers: []corev1.Container{c}, AutomountServiceAccountToken: new(bool), EnableServiceLinks: new(bool),
		TerminationGracePeriodSeconds: ptr(int64(2)),
	}
	if s.role == traffic.KindService {
		// Ports below 1024 without a privilege: devloop.yaml declares them as they are on the wire.
		pod.SecurityContext = &corev1.PodSecurityContext{
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			Sysctls:        []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
		}
	}
	if s.fast {
		pod.SecurityContext.RunAsNonRoot, pod.SecurityContext.RunAsUser, pod.SecurityContext.RunAsGroup = ptr(true), ptr(int64(nobody)), ptr(int64(nobody))
		pod.Containers[0].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(bool), ReadOnlyRootFilesystem: ptr(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
	selector := map[string]string{LabelWorkspace: p.Workspace, LabelService: s.name}
	labels := maps.Clone(selector)
	labels[LabelName], labels[LabelRole], labels[LabelManagedBy] = s.name, s.role, Manager
	return convert(&appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: p.Namespace, Labels: map[string]string{LabelName: s.name, LabelRole: s.role}},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: selector},
			// The old pod goes first: two of a database on one port help nobody.
			Strategy: strategy(s.role),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	})
}

func strategy(role string) appsv1.DeploymentStrategy {
	if role == traffic.KindDependency {
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType}
}

// serviceObject makes the Service that gives the pods their name.
func (p *Plan) serviceObject(name, role string, ports map[string]int) *unstructured.Unstructured {
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.Namespace, Labels: map[string]string{LabelName: name, LabelRole: role}},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{LabelWorkspace: p.Workspace, LabelService: name}},
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: portName(port), Port: int32(ports[port]), TargetPort: intstr.FromInt32(int32(ports[port])), Protocol: corev1.ProtocolTCP,
		})
	}
	return convert(s)
}

// portName makes a port's name one that Kubernetes takes: at most 15 letters, digits and dashes.
func portName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return strings.Trim(name[:min(len(name), 15)], "-")
}

// probe is ready: in the kubelet's words; without one every port has to accept.
func probe(r *config.Ready, ports map[string]int) *corev1.Probe {
	p := &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3}
	names := slices.Sorted(maps.Keys(ports))
	switch {
	case r != nil && r.HTTP != nil:
		name := r.HTTP.Port
		if name == "" && len(names) > 0 {
			name = names[0]
		}
		p.HTTPGet = &corev1.HTTPGetAction{Path: r.HTTP.Path, Port: intstr.FromInt32(int32(ports[name]))}
	case r != nil && r.TCP != "":
		p.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(ports[r.TCP]))}
	case len(names) > 0:
		p.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(ports[names[0]]))}
	default:
		return nil
	}
	return p
}

// convert makes an object as the server takes it.
func convert(object any) *unstructured.Unstructured {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		panic("deploy: an object of ours cannot be converted: " + err.Error())
	}
	delete(fields, "status")
	prune(fields)
	return &unstructured.Unstructured{Object: fields}
}

// prune removes null values, which the converter writes for unset times.
func prune(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			} else {
				prune(x)
			}
		}
	case []any:
		for _, x := range v {
			prune(x)
		}
	}
}

func ptr[T any](v T) *T { return &v }
