// Package supervise replaces the program of a running container. A small supervisor is the container's first process;
// a build comes in through the standard input of a command that is run beside it (pods/exec), and the supervisor ends the
// old program and starts the new one. So a save is served without a new image, a new pod or a new address.
//
// The supervisor keeps everything in one folder, an emptyDir of the pod:
//
//	supervise     itself, where an init container put it
//	sock          where push and watch find it
//	bin/<sum>/    programs, named by their content; written beside and renamed, never in place
//	data/         a private folder of the program, {{.Data}} in devloop.yaml
//	build.json    what to start when the container starts again
//
// A switch has two steps: the supervisor says that the old program has ended, and starts the new one when it is told
// to go on. In between whoever captures packets draws the line between the builds: they share a cgroup.
//
// It imports the standard library only, and not the network's upper floors: it is copied into every pod.
package supervise
