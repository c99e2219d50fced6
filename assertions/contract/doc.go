// Package contract compares observed calls with what a repository's own files promise of them: OpenAPI documents (3.0 and 3.1),
// JSON Schemas, and protobuf definitions. It reads the files from below one folder, and no network.
//
// A call conforms, breaks the contract, or leaves it open: a body that was cut, redacted or not understood shows neither.
package contract
