// Package daemon serves one workspace's session over a unix socket, one daemon a workspace: a file lock tells a living
// one from a dead one. It ends when nobody has asked anything for its idle time, and takes down what it started.
package daemon
