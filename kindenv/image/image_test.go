package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/kindenv/image"
)

func spec() image.Spec {
	return image.Spec{
		Name: "payment:r7", Arch: "amd64", User: image.NonRoot, Env: []string{"A=b"}, Entrypoint: []string{"/app"}, Cmd: []string{"-v"},
		Files: []image.File{
			{Path: "/app", Data: []byte("binary"), Mode: 0o755},
			{Path: "/etc/ssl/certs/ca.crt", Data: []byte("certificate")},
			{Path: "/tmp", Mode: 0o777 | os.ModeSticky},
		},
	}
}

// TestDigest pins the bytes of an image: a change here means that every node is sent every image again.
func TestDigest(t *testing.T) {
	t.Parallel()
	const want = "sha256:be040cff320e3d196ba8fbf3b4784d17cea3ad2390b201707171bbfffc483b7d"
	i, err := image.Assemble(spec())
	if err != nil {
		t.Fatal(err)
	}
	if i.Digest != want || i.Name != "docker.io/library/payment:r7" {
		t.Errorf("image %s %s, want %s", i.Name, i.Digest, want)
	}
}

// TestDigestDepends changes one thing at a time: what is the same must have the same digest, and nothing else.
func TestDigestDepends(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "app")
	if err := os.WriteFile(binary, []byte("binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := image.Assemble(spec())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		same   bool
		change func(*image.Spec)
	}{
		{"again", true, func(*image.Spec) {}},
		{"other order of files", true, func(s *image.Spec) { s.Files[0], s.Files[2] = s.Files[2], s.Files[0] }},
		{"from a file", true, func(s *image.Spec) { s.Files[0].Data, s.Files[0].From = nil, binary }},
		{"folder given", true, func(s *image.Spec) { s.Files = append(s.Files, image.File{Path: "/etc/ssl"}) }},
		{"other name", true, func(s *image.Spec) { s.Name = "other:1" }},
		{"other content", false, func(s *image.Spec) { s.Files[0].Data = []byte("binarz") }},
		{"other mode", false, func(s *image.Spec) { s.Files[0].Mode = 0o700 }},
		{"other user", false, func(s *image.Spec) { s.User = "" }},
		{"other architecture", false, func(s *image.Spec) { s.Arch = "arm64" }},
		{"other environment", false, func(s *image.Spec) { s.Env = nil }},
	} {
		s := spec()
		c.change(&s)
		i, err := image.Assemble(s)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if same := i.Digest == first.Digest; same != c.same {
			t.Errorf("%s: the same digest: %v, want %v", c.name, same, c.same)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		change     func(*image.Spec)
	}{
		{"relative path", "must be absolute", func(s *image.Spec) { s.Files[0].Path = "app" }},
		{"root", "must be absolute", func(s *image.Spec) { s.Files[0].Path = "/.." }},
		{"twice", "is there twice", func(s *image.Spec) { s.Files = append(s.Files, image.File{Path: "/x/../app", Data: []byte("y")}) }},
		{"file as folder", "a file and a folder", func(s *image.Spec) { s.Files = append(s.Files, image.File{Path: "/app/x", Data: []byte("y")}) }},
		{"missing file", "no such file", func(s *image.Spec) { s.Files[0] = image.File{Path: "/app", From: "/nowhere/app"} }},
		{"folder for a file", "no regular file", func(s *image.Spec) { s.Files[0] = image.File{Path: "/app", From: "/"} }},
		{"no architecture", "no architecture", func(s *image.Spec) { s.Arch = "" }},
		{"bad name", "is no image name", func(s *image.Spec) { s.Name = "UPPER:1" }},
	} {
		s := spec()
		c.change(&s)
		if _, err := image.Assemble(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFullName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"payment":                    "docker.io/library/payment:latest",
		"devloop/payment:r7":         "docker.io/devloop/payment:r7",
		"docker.io/x/y:z":            "docker.io/x/y:z",
		"registry.local:5000/a/b:c":  "registry.local:5000/a/b:c",
		"ghcr.io/devloop-io/agent:1": "ghcr.io/devloop-io/agent:1",
	} {
		if have, err := image.FullName(in); err != nil || have != want {
			t.Errorf("FullName(%q) = %q, %v; want %q", in, have, err, want)
		}
	}
}

// TestArchiveRefused reads what is no archive.
func TestArchiveRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("no tar\n", 200)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := image.FromArchive(path, ""); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

// TestBuildGoFails shows what the compiler said.
func TestBuildGoFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module broken\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { undefined() }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := image.BuildGo(t.Context(), image.GoSpec{Name: "broken", Dir: dir, Package: ".", Arch: "amd64", Out: filepath.Join(dir, "out")})
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("error %v, want the compiler's", err)
	}
}
