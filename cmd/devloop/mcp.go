package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/scaffold"
	"github.com/devloop-io/devloop/mcp"
)

// mcpVerb is the face for agents.
func mcpVerb(r *root) *cobra.Command {
	o := mcp.Options{Version: buildinfo.Version()}
	var listTools bool
	var client string
	var there remote
	var seen control.Observed
	c := &cobra.Command{
		Use: "mcp", Short: "Serve AI agents over stdio (Model Context Protocol)", Args: cobra.NoArgs,
		Long: `mcp speaks the Model Context Protocol on standard input and output. It attaches to the workspace's daemon and starts
one at the first call that needs it. The workspace is --workspace, else $CLAUDE_PROJECT_DIR, else the current folder's.
With --url it asks a daemon that listens elsewhere, and leaves capture as it is there.

In a folder without devloop.yaml, --kubeconfig, --context or --namespace name a cluster that is looked at: calls, flows, maps and snapshots
of what the agents capture there, which devloop up puts on its nodes. Nothing is built, deployed or changed in it.

Tools come in toolsets:

` + toolsetList() + `
--tools adds single tools to them, or are the only ones when no toolset is named. --exclude-tools and --read-only are stronger
than whatever chooses a tool. What starts or stops capture, and what deletes, is there with --allow-destructive only.`,
		Example: "  devloop mcp --toolsets all --list-tools\n  devloop mcp --toolsets loop,cluster --exclude-tools configure_capture\n  devloop mcp --url http://127.0.0.1:8898 --toolsets traffic,snapshots --read-only\n  devloop mcp --kubeconfig ~/.kube/config --context staging --namespace shop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("mcp-config") {
				return r.mcpConfig(client, cmd)
			}
			if r.workspace == "" {
				r.workspace = os.Getenv("CLAUDE_PROJECT_DIR")
			}
			o.Connect = r.connectMCP
			if _, err := r.findWorkspace(); err != nil && seen != (control.Observed{}) {
				o.Observing = true
				o.Connect = func(ctx context.Context) (*control.Client, error) { return observe(ctx, seen) }
			} else if seen.Context != "" || seen.Namespace != "" {
				return control.Usagef("environment: {default: cluster, cluster: {context: …, namespace: …}} in devloop.yaml", "--context and --namespace are for folders without devloop.yaml")
			}
			r.kubeconfig = seen.Kubeconfig
			if there.url != "" {
				if err := there.connect(cmd.Context(), &o, !listTools); err != nil {
					return err
				}
			}
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
	f.BoolVar(&o.ReadOnly, "read-only", false, "leave out the tools that build, run, open windows, write files or configure capture")
	f.BoolVar(&o.AllowDestructive, "allow-destructive", false, "offer what starts or stops capture, and what deletes, too, where their toolset is chosen")
	f.StringVar(&there.url, "url", "", "ask the daemon at this URL, as devloop daemon listen prints it, instead of the workspace's")
	f.StringVar(&there.token, "token", "", "its token; better given as $DEVLOOP_TOKEN")
	f.BoolVar(&there.insecure, "insecure", false, "send the token unencrypted to another machine")
	f.StringVar(&seen.Kubeconfig, "kubeconfig", "", "kubeconfig file of a daemon that is started for this, or of a cluster to look at where there is no devloop.yaml")
	f.StringVar(&seen.Context, "context", "", "context of the cluster to look at, where there is no devloop.yaml; the current one by default")
	f.StringVar(&seen.Namespace, "namespace", "", "only what the pods of this namespace say, where there is no devloop.yaml")
	f.BoolVar(&listTools, "list-tools", false, "list the tools and end")
	f.StringVar(&client, "mcp-config", "claude", "print the entry for a client's configuration and end: claude, claude-desktop, cursor or vscode")
	f.Lookup("mcp-config").NoOptDefVal = "claude"
	_ = c.RegisterFlagCompletionFunc("toolsets", toolsetNames)
	c.AddCommand(mcpInstallVerb(r))
	return c
}

// remote is a daemon that listens elsewhere.
type remote struct {
	url, token string
	insecure   bool
}

// captureTools are left to whoever runs the daemon.
var captureTools = []string{"configure_capture", "start_capture", "stop_capture"}

const remoteTimeout = 10 * time.Second

// connect asks the daemon once, so that a wrong URL or token is told at once and not at an agent's first question.
func (there remote) connect(ctx context.Context, o *mcp.Options, ask bool) error {
	c, err := control.NewRemote(there.url, there.token, there.insecure)
	if err != nil {
		return err
	}
	o.Connect = func(context.Context) (*control.Client, error) { return c, nil }
	o.Exclude = append(o.Exclude, captureTools...)
	if !ask {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	_, err = c.Status(ctx)
	return err
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
	if r.kubeconfig != "" {
		if err := os.Setenv("KUBECONFIG", r.kubeconfig); err != nil { // for the daemon, where there is none yet
			return nil, err
		}
	}
	c, _, err := connectWorkspace(ctx, workspace, func(string, ...any) {})
	return c, err
}

// mcpConfig prints a client's entry with the flags that were given. A token is not among them.
func (r *root) mcpConfig(client string, cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if !slices.Contains(scaffold.Clients, client) {
		return control.Usagef("clients: "+strings.Join(scaffold.Clients, ", "), fmt.Sprintf("there is no client %q", client))
	}
	args := []string{"mcp"}
	entry := map[string]any{"command": self}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "mcp-config", "token":
		case "url":
			entry["env"] = map[string]string{"DEVLOOP_TOKEN": "what devloop daemon token prints"}
			fallthrough
		default:
			args = append(args, "--"+f.Name+"="+strings.Trim(f.Value.String(), "[]"))
		}
	})
	entry["args"] = args
	list := "mcpServers"
	if client == "vscode" {
		list, entry["type"] = "servers", "stdio"
	}
	b, err := json.MarshalIndent(map[string]any{list: map[string]any{"devloop": entry}}, "", "  ")
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
