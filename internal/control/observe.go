package control

// Observed is a cluster whose traffic is looked at: nothing is built, deployed or changed in it.
type Observed struct {
	Kubeconfig string `json:"kubeconfig,omitempty"` // a file; KUBECONFIG and ~/.kube/config otherwise
	Context    string `json:"context,omitempty"`    // in it; the current one otherwise
	Namespace  string `json:"namespace,omitempty"`  // what its pods say; all that the agents capture otherwise
}
