package devloop

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
)

// exportsFolder is the folder for exports in the state folder, as the store names it.
const exportsFolder = "exports"

// File says where a file lies that was exported. There are no others to be had: no name leads out of the folder.
func (s *Session) File(r control.FileRequest) (*control.FileAnswer, error) {
	dir := filepath.Join(s.stateDir(), exportsFolder)
	name := strings.TrimPrefix(strings.TrimPrefix(r.Path, control.FilesPath), exportsFolder+"/")
	if rel, err := filepath.Rel(dir, name); err == nil && filepath.IsAbs(name) {
		name = rel // an answer's absolute path
	}
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, control.Usagef("give the path that export_pcap, export_snapshot_pcap, export_calls or export_policy answered",
			fmt.Sprintf("%q is no file in the folder for exports", r.Path))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, noExport(name)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, noExport(name)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, noExport(name)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	file := filepath.Join(dir, name)
	return &control.FileAnswer{
		URL: (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String(), Path: exportsFolder + "/" + name, File: file,
		Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil)),
	}, nil
}

func noExport(name string) error {
	return control.Missing("export_snapshot_pcap, export_pcap, export_calls and export_policy make files", fmt.Sprintf("there is no exported file %q", name))
}
