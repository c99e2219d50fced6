package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
)

// FileRequest names a file that was exported (get_file).
type FileRequest struct {
	Path string `json:"path" jsonschema:"as export_pcap, export_snapshot_pcap, export_calls or export_policy answered it"`
}

// FileAnswer is a file that was exported.
type FileAnswer struct {
	URL    string `json:"url" jsonschema:"absolute: of the daemon where it listens on TCP (its token is needed), else of the file"`
	Path   string `json:"path" jsonschema:"relative, as it was named"`
	File   string `json:"file" jsonschema:"where it lies on the daemon's machine"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// GetFile says where a file lies that was exported.
var GetFile = Method[FileRequest, FileAnswer]{"get_file"}

// FilesPath is where the daemon serves exported files over TCP.
const FilesPath = "/mcp/files/"

// Open reads a file that was exported: from the disk, or through the daemon's URL where that is elsewhere.
func (c *Client) Open(ctx context.Context, f *FileAnswer) (io.ReadCloser, error) {
	if !c.remote {
		return os.Open(f.File)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+FilesPath+url.PathEscape(path.Base(f.Path)), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, fmt.Errorf("read %s: %w", f.Path, c.refused(answer, GetFile.Name))
	}
	return answer.Body, nil
}
