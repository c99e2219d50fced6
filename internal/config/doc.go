// Package config reads devloop.yaml and the files around it: strictly, with file, line and column in every error.
package config
