package localenv

import "github.com/devloop-io/devloop/capture"

// Target tells a capture source what to capture and what to call it: one for every start of a service.
type Target = capture.Target
