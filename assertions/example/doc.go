// Package example makes calls and connections from a few words each: what tests of checks are written in, a user's and our own.
package example
