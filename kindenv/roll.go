package kindenv

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/kindenv/deploy"
	"github.com/devloop-io/devloop/kindenv/image"
)

// roll brings a program into a service's pods by an image and a rollout: the way where no commands may be run in pods.
// New pods bear the build's name, so what the old ones still say is not counted for it.
func (e *Env) roll(ctx context.Context, s deploy.Service, run *service) error {
	if !e.cluster.Kind {
		return errors.New("commands may not be run in pods here, and images can be put into the nodes of kind clusters only: " +
			"grant pods/exec in the namespace, or push an image to a registry and name it as image: of the service")
	}
	p := run.program
	path := "/" + p.Name
	spec := image.Spec{
		Name: deploy.ImagePrefix + s.Name + ":" + p.Sum[:12], Arch: e.arch, User: image.NonRoot, Entrypoint: []string{path},
		Files: append(image.Base(), image.File{Path: path, From: p.Path, Mode: 0o755}),
	}
	img, err := image.Assemble(spec)
	if err != nil {
		return err
	}
	if _, err := image.Load(ctx, e.cluster, img); err != nil {
		return err
	}
	object := deploy.WithProgram(e.plan.Workload(s), s, spec.Name, append([]string{path}, p.Args...), run.build.Env, run.build.ID)
	if _, err := e.deployer.Apply(ctx, []*unstructured.Unstructured{object}); err != nil {
		return err
	}
	e.mu.Lock()
	run.program = nil // it is the pods' own now: a pod that is replaced has it
	e.mu.Unlock()
	_, err = e.deployer.WaitReady(ctx, e.plan, s)
	return err
}
