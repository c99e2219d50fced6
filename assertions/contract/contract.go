package contract

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/traffic"
)

// Conformance is what a call is to a contract.
type Conformance uint8

// The conformances.
const (
	Other    Conformance = iota // the contract does not speak of such calls: another protocol
	Conforms                    // everything that was seen is as promised
	Breaks                      // something is not
	Open                        // what would show it was not seen
)

// Contract is one file, loaded. It may be used by several goroutines.
type Contract struct {
	file  string
	check func(*traffic.Call) (Conformance, []string)
}

// Part is what of a call a JSON Schema speaks of.
type Part string

// The parts.
const (
	Response Part = "response"
	Request  Part = "request"
)

// Load reads a file and what it refers to. part is for JSON Schemas.
// What a file is, its content says: an OpenAPI document has openapi:, a JSON Schema has not; .proto files and descriptor sets
// (.binpb, .pb, .protoset) go by their endings.
func Load(ctx context.Context, files Files, file string, part Part) (*Contract, error) {
	clean := path.Clean(filepath.ToSlash(file))
	if !fs.ValidPath(clean) {
		return nil, fmt.Errorf("read contract %s: it lies outside of the workspace, and is not read", file)
	}
	data, err := files(clean)
	if err != nil {
		return nil, fmt.Errorf("read contract %s: %w", file, err)
	}
	c := &Contract{file: clean}
	switch path.Ext(clean) {
	case ".proto", ".binpb", ".pb", ".protoset":
		c.check, err = protos(ctx, files, clean)
	default:
		var head struct {
			OpenAPI string `yaml:"openapi"`
			Swagger string `yaml:"swagger"`
		}
		switch bad := yaml.Unmarshal(data, &head); {
		case head.Swagger != "":
			err = errors.New("it is of Swagger 2; OpenAPI 3 is understood: convert it, with swagger2openapi or the like")
		case bad != nil:
			err = bad
		case head.OpenAPI != "":
			c.check, err = openAPI(ctx, files, clean, data)
		default:
			c.check, err = jsonSchema(files, clean, data, part)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read contract %s: %w", file, err)
	}
	return c, nil
}

// File is the contract's name, below its root.
func (c *Contract) File() string { return c.file }

// Check says what a call is to the contract. The reasons name places and what was promised there, and no values.
func (c *Contract) Check(call *traffic.Call) (Conformance, []string) { return c.check(call) }

// maxReasons bounds what is said of one call.
const maxReasons = 8

// judged is the conformance that reasons make: what is open does not excuse what is broken.
func judged(broken, open []string) (Conformance, []string) {
	switch {
	case len(broken) > 0:
		return Breaks, broken[:min(len(broken), maxReasons)]
	case len(open) > 0:
		return Open, open[:min(len(open), maxReasons)]
	}
	return Conforms, nil
}

const mayBeRedacted = ", which may be redaction's doing"

// redacted says whether a body carries what redaction put in place of a value: such a text shows nothing of the value's type.
func redacted(body []byte) bool { return strings.Contains(string(body), "[redacted ") }
