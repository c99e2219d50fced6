package assertions

import "github.com/devloop-io/devloop/traffic"

type builtin struct {
	name  string
	judge func(w *world, muted string) traffic.CheckResult
}

func builtins() []builtin { return nil }
