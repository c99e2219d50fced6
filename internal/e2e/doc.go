// Package e2e tests the product through its front door: the real binary, real services, the real kernel. It holds tests
// only. They need root on Linux and run with `make test`.
package e2e
