// Package cluster makes, finds and deletes Kubernetes clusters: kind clusters of its own, and attachments to clusters
// that are there. Each gets a kubeconfig file of its own; ~/.kube/config and the current context are never touched.
package cluster
