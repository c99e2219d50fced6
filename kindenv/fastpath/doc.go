// Package fastpath puts a new build of a program into a running container, through pods/exec and the supervisor that is
// the container's first process (internal/supervise). Nothing else is needed in the image: no shell, no tar, no
// writable root file system.
package fastpath
