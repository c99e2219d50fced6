package testimages

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/kindenv/image"
)

// entrypoint is the package of the program that the image starts.
const entrypoint = "github.com/devloop-io/devloop/internal/testimages/cmd/postgres-entrypoint"

// Postgres makes an image of this machine's PostgreSQL. As in the official image POSTGRES_USER, POSTGRES_DB and PGDATA say
// what is made at the first start, and arguments go to the server; POSTGRES_HOST_AUTH_METHOD must be trust: there are no
// passwords. It has initdb, postgres and a shell, runs as a user without rights, and has neither psql nor extensions.
func Postgres(ctx context.Context, name, arch string) (*image.Image, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errors.New("this machine has no PostgreSQL: apt-get install postgresql")
	}
	slices.Sort(found)
	home := filepath.Dir(filepath.Dir(found[len(found)-1])) // the newest
	share := filepath.Join("/usr/share/postgresql", filepath.Base(home))
	files := collection{}
	for _, path := range []string{home + "/bin/postgres", home + "/bin/initdb", home + "/lib/plpgsql.so", home + "/lib/dict_snowball.so", "/bin/sh"} {
		if err := files.program(ctx, path); err != nil {
			return nil, err
		}
	}
	encodings, err := filepath.Glob(home + "/lib/*_and_*.so") // initdb makes a conversion of each
	if err != nil {
		return nil, err
	}
	for _, path := range encodings {
		if err := files.file(path, path); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(files.file("/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC"), files.folder(share)); err != nil {
		return nil, err
	}
	for path := range files {
		if strings.HasPrefix(path, share+"/man/") {
			delete(files, path)
		}
	}
	files["data"] = image.File{Path: "/var/lib/postgresql", Mode: 0o777}
	dir, err := os.MkdirTemp("", "entrypoint-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "entrypoint")
	if err := image.CompileGo(ctx, image.GoSpec{Package: entrypoint, Arch: arch, Out: out, Flags: []string{"-ldflags=-s -w"}}); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	files["entrypoint"] = image.File{Path: "/postgres-entrypoint", Data: program, Mode: 0o755}
	version, err := exec.CommandContext(ctx, home+"/bin/postgres", "--version").Output()
	if err != nil {
		return nil, err
	}
	return assemble(image.Spec{
		Name: name, Arch: arch, Entrypoint: []string{"/postgres-entrypoint"}, Cmd: []string{"postgres"},
		Env: []string{"PATH=" + home + "/bin:/bin", "PGDATA=/var/lib/postgresql/data", "TZ=UTC"},
	}, strings.TrimSpace(string(version)), files)
}
