// Package shop is what the services of the example have in common: how a service starts, how it calls its peers and
// what it passes on, the test-only certificates, and the switch that plants faults.
package shop
