package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/scaffold"
	"github.com/devloop-io/devloop/mcp"
)

// mcpVerb is the face for agents.
func mcpVerb(r *root) *cobra.Command {
	o := mcp.Options{Version: buildinfo.Version()}
	var listTools, showConfig bool
	c := &cobra.Command{
		Use: "mcp", Short: "Serve AI agents over stdio (Model Context Protocol)", Args: cobra.NoArgs,
		Long: `mcp speaks the Model Context Protocol on standard input and output. It attaches to the workspace's daemon and starts
one at the first call that needs it. The workspace is --workspace, else $CLAUDE_PROJECT_DIR, else the current folder's.

Tools come in toolsets:

` + toolsetList() + `
--tools adds single tools to them, or are the only ones when no toolset is named. --exclude-tools and --read-only are stronger
than whatever chooses a tool, and start_capture and stop_capture are there with --allow-destructive only.`,
		Example: "  devloop mcp --toolsets all --list-tools\n  devloop mcp --toolsets loop,cluster --exclude-tools configure_capture",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showConfig {
				return r.mcpConfig()
			}
			if r.workspace == "" {
				r.workspace = os.Getenv("CLAUDE_PROJECT_DIR")
			}
			o.Connect = r.connectMCP
			if listTools {
				return mcp.ListTools(cmd.Context(), o, r.out)
			}
			return mcp.Serve(cmd.Context(), o, os.Stdin, os.Stdout)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Toolsets, "toolsets", nil, "toolsets with commas between them, or all; "+mcp.DefaultToolset+" by default")
	f.StringSliceVar(&o.Tools, "tools", nil, "tools with commas between them")
	f.StringSliceVar(&o.Exclude, "exclude-tools", nil, "tools that are left out")
	f.BoolVar(&o.ReadOnly, "read-only", false, "leave out the tools that build, run, open windows or configure capture")
	f.BoolVar(&o.AllowDestructive, "allow-destructive", false, "offer start_capture and stop_capture too, where their toolset is chosen")
	f.BoolVar(&listTools, "list-tools", false, "list the tools and end")
	f.BoolVar(&showConfig, "mcp-config", false, "print the entry for a client's configuration and end")
	_ = c.RegisterFlagCompletionFunc("toolsets", toolsetNames)
	c.AddCommand(mcpInstallVerb(r))
	return c
}

// toolsetList is a line for each toolset.
func toolsetList() string {
	var b strings.Builder
	for _, set := range mcp.Toolsets() {
		fmt.Fprintf(&b, "  %-8s %s\n", set[0], set[1])
	}
	return b.String()
}

// toolsetNames completes --toolsets.
func toolsetNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{"all"}
	for _, set := range mcp.Toolsets() {
		names = append(names, set[0]+"\t"+set[1])
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// connectMCP is connect without a terminal: what it would say goes nowhere, stdout is the protocol's.
func (r *root) connectMCP(ctx context.Context) (*control.Client, error) {
	workspace, err := r.findWorkspace()
	if err != nil {
		return nil, err
	}
	if _, err := config.Load(workspace); err != nil {
		return nil, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	c, _, err := connectWorkspace(ctx, workspace, func(string, ...any) {})
	return c, err
}

func (r *root) mcpConfig() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(map[string]any{"mcpServers": map[string]any{"devloop": map[string]any{"command": self, "args": []string{"mcp"}}}}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(r.out, string(b))
	return nil
}

// mcpInstallVerb registers the server with a client.
func mcpInstallVerb(r *root) *cobra.Command {
	var client string
	var yes, show bool
	c := &cobra.Command{
		Use: "install --client CLIENT", Short: "Register devloop with an agent: claude, claude-desktop, cursor or vscode", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir := r.workspace
			if workspace, err := r.findWorkspace(); err == nil {
				dir = workspace
			}
			if dir == "" {
				dir = "."
			}
			dir, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			change, err := scaffold.MCPClient(dir, client)
			if err != nil {
				return &control.Error{What: err.Error(), Hint: "clients: claude, claude-desktop, cursor, vscode", Exit: control.ExitUsage}
			}
			return r.apply(dir, []scaffold.Change{change}, yes, show)
		},
	}
	f := c.Flags()
	f.StringVar(&client, "client", "claude", "claude, claude-desktop, cursor or vscode")
	f.BoolVarP(&yes, "yes", "y", false, "write without asking")
	f.BoolVar(&show, "print", false, "show the change and write nothing")
	return c
}
