package kindenv

import (
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// never are the namespaces that are captured only when they are named.
var never = []string{"kube-system", "kube-node-lease", "kube-public", "local-path-storage"}

// matcher says which pods the targets choose.
func (t *Targets) matcher() (func(*corev1.Pod) bool, error) {
	var pod *regexp.Regexp
	if t.PodRegex != "" {
		var err error
		if pod, err = regexp.Compile(t.PodRegex); err != nil {
			return nil, fmt.Errorf("pod_regex: %w", err)
		}
	}
	selector, err := labels.ValidatedSelectorFromSet(t.Labels)
	if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	return func(p *corev1.Pod) bool {
		named := slices.Contains(t.Namespaces, p.Namespace)
		all := len(t.Namespaces) == 0 || slices.Contains(t.Namespaces, AllNamespaces)
		switch {
		case slices.Contains(t.Excluded, p.Namespace):
			return false
		case !named && (!all || slices.Contains(never, p.Namespace)):
			return false
		case pod != nil && !pod.MatchString(p.Name):
			return false
		}
		return selector.Matches(labels.Set(p.Labels))
	}, nil
}
