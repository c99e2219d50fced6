package scaffold

import (
	"fmt"
	"os"
	"path/filepath"
)

// Clients are the agents that [MCPClient] knows.
var Clients = []string{"claude", "claude-desktop", "cursor", "vscode"}

type server struct {
	Type    string   `json:"type"`
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

// MCPClient registers devloop with an agent: in the workspace's file, or the user's for claude-desktop, which has no
// other. An entry of that name stays as it is.
func MCPClient(dir, client string) (Change, error) {
	path, object, entry := "", "mcpServers", server{"stdio", "devloop", []string{"mcp"}}
	switch client {
	case "claude":
		path = ".mcp.json"
	case "cursor":
		path = ".cursor/mcp.json"
	case "vscode":
		path, object = ".vscode/mcp.json", "servers"
	case "claude-desktop":
		config, err := os.UserConfigDir()
		if err != nil {
			return Change{}, fmt.Errorf("find the folder of Claude's settings: %w", err)
		}
		// It starts servers in no workspace, and with a short PATH.
		program, err := os.Executable()
		if err != nil {
			return Change{}, fmt.Errorf("find devloop's own path: %w", err)
		}
		path = filepath.Join(config, "Claude", "claude_desktop_config.json")
		entry.Command, entry.Args = program, []string{"mcp", "--workspace", dir}
	default:
		return Change{}, fmt.Errorf("unknown client %q", client)
	}
	return edit(dir, path, func(text string) (string, error) { return setMember(text, object, "devloop", entry) })
}

// edit makes a change of what a function makes of a file's text, "" where there is no file.
func edit(dir, path string, change func(text string) (string, error)) (Change, error) {
	before, err := read(resolve(dir, path))
	if err != nil {
		return Change{}, err
	}
	after, err := change(string(before))
	if err != nil {
		return Change{}, fmt.Errorf("change %s: %w", path, err)
	}
	return Change{Path: path, Before: before, After: []byte(after)}, nil
}
