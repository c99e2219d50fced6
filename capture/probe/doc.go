// Package probe finds out which capture source works on this machine, why no better one does, and the one command that
// would mend it. It tries for real: it loads the tap on a cgroup of its own and opens a packet socket, and takes both
// down again.
package probe
