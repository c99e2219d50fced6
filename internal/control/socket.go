package control

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// WorkspaceHash is the short name of a workspace: eight hex digits of its absolute path's SHA-256.
func WorkspaceHash(workspace string) string {
	sum := sha256.Sum256([]byte(workspace))
	return hex.EncodeToString(sum[:4])
}

// RuntimeDir is where sockets and locks of this user lie: $XDG_RUNTIME_DIR/devloop, /run/devloop for root, else a
// private folder under the temporary one. It is created with mode 0700.
func RuntimeDir() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("devloop-%d", os.Getuid()))
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); xdg != "" {
		dir = filepath.Join(xdg, "devloop")
	} else if os.Geteuid() == 0 {
		dir = "/run/devloop"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder for sockets: %w", err)
	}
	return dir, nil
}

// SocketPath is where the daemon of a workspace listens.
func SocketPath(workspace string) (string, error) {
	dir, err := RuntimeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, WorkspaceHash(workspace)+".sock"), nil
}
