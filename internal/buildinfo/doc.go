// Package buildinfo says which build of devloop this is.
package buildinfo
