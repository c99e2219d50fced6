// Package identity knows whose addresses and containers are in a cluster, now and at any time since it began to watch:
// pods, Services, nodes and the API server. Addresses are used again soon after a pod is gone, so each belongs to
// somebody during a span of time.
package identity
