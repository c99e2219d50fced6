// Package clustertest gives tests a real kind cluster: one for all tests of a machine, a namespace of its own for each test.
package clustertest
