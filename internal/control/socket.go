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
// private folder under the temporary one. It is created with mode 0700; root's lets others pass but not look, because
// dependencies that run as a user of their own have their folders in it.
func RuntimeDir() (string, error) {
	dir, mode := filepath.Join(os.TempDir(), fmt.Sprintf("devloop-%d", os.Getuid())), os.FileMode(0o700)
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); xdg != "" {
		dir = filepath.Join(xdg, "devloop")
	} else if os.Geteuid() == 0 {
		dir, mode = "/run/devloop", 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", fmt.Errorf("make the folder for sockets: %w", err)
	}
	if err := private(dir); err != nil {
		return "", fmt.Errorf("use %s for sockets: %w", dir, err)
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
