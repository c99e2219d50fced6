// Package kindenv runs the services of a workspace in a Kubernetes cluster: a kind cluster that devloop makes, or one that
// is there. It has what localenv has for processes: services are started with a build, found by their names, driven
// from inside, captured with the build that each packet is of, and taken away without a trace.
//
//	the developer's machine                          the cluster
//	  Env.Start ──── pods/exec, a program ─────────►  supervisor in the service's container
//	  exercise ───── SOCKS5, one port-forward ─────►  pod devloop-exercise ──► Services, by name
//	  capture ◄───── two port-forwards a node ──────  devloop-agent, a DaemonSet
//	  identities ◄── watches ───────────────────────  API server
package kindenv
