package config

import _ "embed"

//go:generate go run ./schemagen

//go:embed devloop.schema.json
var schema []byte

// Schema is the JSON Schema of devloop.yaml, generated from the types of this package.
func Schema() []byte { return schema }
