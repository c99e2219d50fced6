package deploy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/kindenv/clustertest"
	"github.com/devloop-io/devloop/kindenv/deploy"
)

// behind is a deployer that reaches the cluster by a way that can be taken away.
func (b *bench) behind() *clustertest.Way {
	way := clustertest.NewWay(b.t, b.cluster)
	var err error
	b.deployer, err = deploy.NewDeployer(way.REST(b.cluster))
	must(b.t, err)
	b.deployer.Say = b.say
	return way
}

// TestServerGoneAndBack: what is under way goes on when the API server answers again, and it is said that it is waited for.
func TestServerGoneAndBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	way := b.behind()
	p := b.plan("", deployment("serve", "readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}", ""))
	way.Gone()
	time.AfterFunc(2*time.Second, way.Back)
	b.apply(p)
	if !b.heard("does not answer") || !b.heard("answers again") {
		t.Errorf("said %v", b.said)
	}
	b.apply(b.plan("", strings.ReplaceAll(deployment("serve", "readinessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 3, periodSeconds: 1}", ""), "app: x", "app: x")))
	time.AfterFunc(500*time.Millisecond, way.Gone)
	time.AfterFunc(2*time.Second, way.Back)
	must(t, b.deployer.WaitRest(b.ctx, p))
}

// TestServerGone: after half a minute it is said who does not answer.
func TestServerGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	way := b.behind()
	p := b.plan("", deployment("serve", "", ""))
	b.apply(p)
	way.Gone()
	began := time.Now()
	_, err := b.deployer.Apply(b.ctx, p.Objects)
	var gone *deploy.UnreachableError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "has not answered for 30 s") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%.0f s: %v", time.Since(began).Seconds(), err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	if err := b.deployer.WaitRest(ctx, p); !errors.As(err, &gone) {
		t.Errorf("wait: %v", err)
	}
}
