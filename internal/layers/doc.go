// Package layers holds the rules about who may import whom, each with its reason. Its test reads the imports of every
// package and fails with the reason where a rule is broken.
package layers
