package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// DownloadInput names an exported file, and where it shall go.
type DownloadInput struct {
	control.FileRequest
	Dest      string `json:"dest,omitempty" jsonschema:"file or folder, in the current folder or the one for temporary files; the file's own name in the current folder by default"`
	Overwrite bool   `json:"overwrite,omitempty" jsonschema:"replace a file of that name"`
}

// Download answers download_file.
type Download struct {
	URL    string `json:"url"`
	Path   string `json:"path" jsonschema:"where it is now"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func downloadFile(s *mcp.Server, t *tools) {
	add(s, t, creates, "download_file", "Download a file",
		"Copies an exported file to this machine. It replaces nothing unless overwrite is set, and writes below the current folder or the one for temporary files only.",
		func(ctx context.Context, c *control.Client, _ *mcp.CallToolRequest, in DownloadInput) (Download, error) {
			f, err := control.GetFile.Ask(ctx, c, in.FileRequest, nil)
			if err != nil {
				return Download{}, err
			}
			dest, err := destination(in.Dest, filepath.Base(filepath.FromSlash(f.Path)))
			if err != nil {
				return Download{}, err
			}
			from, err := c.Open(ctx, f)
			if err != nil {
				return Download{}, err
			}
			defer from.Close()
			if err := copyTo(dest, from, f.SHA256, in.Overwrite); err != nil {
				return Download{}, err
			}
			return Download{URL: f.URL, Path: dest, Size: f.Size, SHA256: f.SHA256}, nil
		})
}

// destination is the absolute path of a download. An agent that was talked into it by what it read must not write to the
// user's other folders.
func destination(dest, name string) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the current folder: %w", err)
	}
	if dest == "" {
		dest = name
	}
	if !filepath.IsAbs(dest) {
		dest = filepath.Join(here, dest)
	}
	dest = filepath.Clean(dest)
	if info, err := os.Stat(dest); err == nil && info.IsDir() {
		dest = filepath.Join(dest, name)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(dest))
	if err != nil {
		return "", &control.Error{What: fmt.Sprintf("there is no folder %s", filepath.Dir(dest)), Hint: "make it first, or leave dest out", Exit: control.ExitUsage}
	}
	for _, allowed := range []string{here, os.TempDir()} {
		if real, err := filepath.EvalSymlinks(allowed); err == nil && below(folder, real) {
			return filepath.Join(folder, filepath.Base(dest)), nil
		}
	}
	return "", &control.Error{What: dest + " is outside of " + here, Hint: "give a dest below it, or leave dest out", Exit: control.ExitUsage}
}

func below(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// copyTo writes a file whole or not at all.
func copyTo(dest string, from io.Reader, digest string, overwrite bool) error {
	if _, err := os.Lstat(dest); err == nil && !overwrite {
		return &control.Error{What: dest + " is there already", Hint: "give another dest, or overwrite: true", Exit: control.ExitUsage}
	}
	f, err := os.CreateTemp(filepath.Dir(dest), ".devloop-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", dest, err)
	}
	defer os.Remove(f.Name())
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), from)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", dest, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return fmt.Errorf("write %s: it changed on the way: SHA-256 %s, want %s", dest, got, digest)
	}
	if overwrite {
		return os.Rename(f.Name(), dest)
	}
	switch err := os.Link(f.Name(), dest); {
	case errors.Is(err, fs.ErrExist):
		return &control.Error{What: dest + " is there already", Hint: "give another dest, or overwrite: true", Exit: control.ExitUsage}
	case err != nil:
		return os.Rename(f.Name(), dest) // no hard links here
	}
	return nil
}
