package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/devloop-io/devloop/internal/control"
)

// A cluster that is only looked at has a daemon of its own, and a folder in the user's cache for what is kept of it: ring,
// snapshots and dissections.

// observeFlag is a cluster as JSON, as one daemon is started with it.
type observeFlag struct{ o *control.Observed }

// Set reads it.
func (f observeFlag) Set(text string) error { return json.Unmarshal([]byte(text), f.o) }

// String writes it.
func (f observeFlag) String() string {
	if f.o == nil || *f.o == (control.Observed{}) {
		return ""
	}
	b, err := json.Marshal(f.o)
	if err != nil {
		return ""
	}
	return string(b)
}

// Type is what help calls it.
func (observeFlag) Type() string { return "json" }

// observedFolder makes the folder of a cluster that is looked at. Its kubeconfig's path is made absolute.
func observedFolder(o *control.Observed) (string, error) {
	if o.Kubeconfig != "" {
		path, err := filepath.Abs(o.Kubeconfig)
		if err != nil {
			return "", fmt.Errorf("find the kubeconfig: %w", err)
		}
		o.Kubeconfig = path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for what is kept of the cluster: %w", err)
	}
	sum := sha256.Sum256([]byte(o.Kubeconfig + "\x00" + o.Context + "\x00" + o.Namespace))
	dir := filepath.Join(cache, "devloop", "observed", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for what is kept of the cluster: %w", err)
	}
	return filepath.EvalSymlinks(dir)
}

// observe connects to the daemon that looks at a cluster, and starts it when there is none.
func observe(ctx context.Context, o control.Observed) (*control.Client, error) {
	dir, err := observedFolder(&o)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	c, _, err := connectDaemon(ctx, dir, []string{"--observe", string(b), "--idle", "10m"}, func(string, ...any) {})
	return c, err
}
