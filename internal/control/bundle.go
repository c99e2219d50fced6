package control

import "github.com/devloop-io/devloop/traffic"

// Bundle writes an evidence bundle of an iteration into the folder for exports.
var Bundle = Method[BundleRequest, BundleAnswer]{"bundle"}

// BundleRequest says which iteration.
type BundleRequest struct {
	Iteration string             `json:"iteration,omitempty" jsonschema:"the newest one with traffic by default"`
	Told      *traffic.Iteration `json:"told,omitempty" jsonschema:"the iteration as it was told, where a comparison added to its checks"`
	File      string             `json:"file,omitempty" jsonschema:"name of the file, in .devloop/exports; made up by default"`
}

// BundleAnswer says where the bundle lies.
type BundleAnswer struct {
	Iteration string `json:"iteration"`
	Path      string `json:"path" jsonschema:"relative to .devloop"`
	File      string `json:"file" jsonschema:"absolute"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"`
	Packets   bool   `json:"packets" jsonschema:"whether it has packets"`
	Next      string `json:"next"`
}
