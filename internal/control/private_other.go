//go:build !unix

package control

// private trusts the folder: on this system the temporary one is the user's own.
func private(string) error { return nil }
