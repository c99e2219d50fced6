// Package deploy puts the services of a workspace into a cluster: what devloop.yaml says becomes objects, the user's own
// manifests win where they name the same service, everything is applied by the server with devloop's field manager, and
// is found again by its labels.
//
// A service with go: runs the supervisor (internal/supervise) as its container's first process: its program is pushed,
// see kindenv/fastpath. Services with dockerfile: or image: run their image.
package deploy
