package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// NonRoot is the user of images that nobody gave another: it may do nothing on the node.
const NonRoot = "65532:65532"

// GoSpec says how to build a Go service into an image.
type GoSpec struct {
	Name    string   // of the image
	Dir     string   // of the module, or below it
	Package string   // "./cmd/payment"
	Arch    string   // of the nodes
	Out     string   // where the binary goes; its folder is made
	Flags   []string // further ones of go build
	Args    []string // of the service
	Env     []string
	User    string // [NonRoot] when empty
	Files   []File // further ones
}

// BuildError is a build that failed, with what it printed.
type BuildError struct {
	What   string
	Output string
	Err    error
}

// Error is the sentence and the output.
func (e *BuildError) Error() string {
	return strings.TrimSpace(e.What + ": " + e.Err.Error() + "\n" + e.Output)
}

// Unwrap returns why the build's command ended.
func (e *BuildError) Unwrap() error { return e.Err }

// BuildGo compiles on this machine and puts the static binary on an empty base, with the machine's CA certificates, users root and
// nonroot, and a /tmp. There is no time zone data: import time/tzdata in the service where it is needed.
func BuildGo(ctx context.Context, s GoSpec) (*Image, error) {
	if err := CompileGo(ctx, s); err != nil {
		return nil, err
	}
	user := s.User
	if user == "" {
		user = NonRoot
	}
	const binary = "/app"
	files := append(base(), File{Path: binary, From: s.Out, Mode: 0o755})
	certificates, found := certificates()
	if found {
		files = append(files, certificates)
	}
	i, err := Assemble(Spec{Name: s.Name, Arch: s.Arch, User: user, Env: s.Env, Entrypoint: append([]string{binary}, s.Args...), Files: append(files, s.Files...)})
	if err == nil && !found {
		i.Notes = append(i.Notes, "this machine has no CA certificates to put into the image: TLS to outside servers will fail")
	}
	return i, err
}

// CompileGo builds the binary alone, into Out. The same sources give the same bytes: no paths and no version control stamp.
func CompileGo(ctx context.Context, s GoSpec) error {
	out, err := filepath.Abs(s.Out)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(out), 0o755)
	}
	if err != nil {
		return fmt.Errorf("build %s: %w", s.Package, err)
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out}, s.Flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, s.Package)...)
	cmd.Dir, cmd.WaitDelay = s.Dir, time.Second
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+s.Arch)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		err = errors.New("there is no go command on the PATH: install Go, or give the service a dockerfile: or image:")
	}
	return &BuildError{What: "build " + s.Package, Output: output.String(), Err: err}
}

// base are the files that every image of ours has.
func base() []File {
	return []File{
		{Path: "/etc/passwd", Data: []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n")},
		{Path: "/etc/group", Data: []byte("root:x:0:\nnonroot:x:65532:\n")},
		{Path: "/tmp", Mode: 0o777 | os.ModeSticky},
	}
}

// certificateFiles are where systems keep the bundle of CA certificates: crypto/x509's list, root_linux.go and root_bsd.go.
var certificateFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem", "/usr/local/etc/ssl/cert.pem",
}

func certificates() (File, bool) {
	for _, path := range certificateFiles {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return File{Path: certificateFiles[0], From: path}, true
		}
	}
	return File{}, false
}
