// Package testenv says what a test needs of its machine and skips, with a sentence, where it is missing.
package testenv
