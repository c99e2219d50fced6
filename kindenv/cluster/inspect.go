package cluster

import (
	"cmp"
	"context"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
)

// FindNodeImage says whether a node image is on this machine, and which one it is: kind's own default when none is named.
func FindNodeImage(ctx context.Context, image string) (name string, here bool, err error) {
	name = cmp.Or(image, defaults.Image)
	if _, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", name); err != nil {
		if known := engineError(err); known != nil {
			return name, false, known
		}
		return name, false, nil
	}
	return name, true, nil
}
