package cluster_test

import (
	"testing"

	"github.com/devloop-io/devloop/kindenv/clustertest"
)

func TestShared(t *testing.T) {
	c := clustertest.Shared(t)
	t.Log(c.Kubeconfig, clustertest.Namespace(t, c))
}
