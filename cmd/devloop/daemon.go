package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/daemon"
)

// daemonVerb is the workspace's daemon; other verbs start it.
func daemonVerb(r *root) *cobra.Command {
	o := daemon.Options{Version: buildinfo.ID()}
	var level string
	var observed control.Observed
	c := &cobra.Command{
		Use: "daemon", Short: "Serve this workspace in the foreground (other verbs start it by themselves)", Args: cobra.NoArgs,
		Long: `daemon serves the workspace over a unix socket that only its owner can reach. With --listen it serves the same API, MCP and
REST over TCP too, to whoever has its token: devloop daemon token prints it, and each daemon has a new one. DEVLOOP_LISTEN in the
environment does the same for a daemon that another verb starts, and devloop daemon listen for one that runs already.`,
		Example: "  devloop daemon --listen 127.0.0.1:8898\n  curl -H \"Authorization: Bearer $(devloop daemon token)\" http://127.0.0.1:8898/mcp",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("observe") {
				dir, err := observedFolder(&observed)
				if err != nil {
					return err
				}
				o.Workspace, o.Observe = dir, &observed
			} else {
				workspace, err := r.findWorkspace()
				if err != nil {
					return err
				}
				o.Workspace = workspace
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return control.Usagef("debug, info, warn or error", "log level "+level+" is none")
			}
			o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
			err := daemon.Run(cmd.Context(), o)
			if err != nil {
				return asEnvironment(err)
			}
			return nil
		},
	}
	f := c.Flags()
	f.DurationVar(&o.Idle, "idle", 30*time.Minute, "end after this long without requests")
	f.StringVar(&o.Source, "source", "", "capture source to use instead of the best: tap or afpacket")
	f.Var(observeFlag{&observed}, "observe", "a cluster to look at instead of serving a workspace, as JSON; devloop mcp --kubeconfig starts such a daemon")
	_ = f.MarkHidden("observe") // fails only for flags that are not there
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.Listen, "listen", "", "TCP address to serve on as well, such as 127.0.0.1:8898; port 0 takes a free one")
	f.BoolVar(&o.AllowRemote, "allow-remote", false, "let --listen take an address that other machines reach; what goes over it is not encrypted")
	f.BoolVar(&o.AllowDestructive, "allow-destructive", false, "offer agents on TCP the tools that stop capture and delete snapshots")
	c.AddCommand(daemonListenVerb(r), daemonTokenVerb(r))
	return c
}

// daemonListenVerb opens the API on TCP.
func daemonListenVerb(r *root) *cobra.Command {
	var request control.ListenRequest
	c := &cobra.Command{
		Use: "listen [ADDRESS]", Short: "Serve on TCP too, and print the URL", Args: cobra.MaximumNArgs(1),
		Long: `listen has the workspace's daemon serve its API, MCP and REST on a TCP address: 127.0.0.1 and a free port without one. It prints the
URL. A daemon that listens already stays where it is.`,
		Example: "  devloop daemon listen 127.0.0.1:8898",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if len(args) == 1 {
				request.Address = args[0]
			}
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			l, err := c.Listen(ctx, request)
			if err != nil {
				return err
			}
			if !r.text() {
				return r.json(l)
			}
			fmt.Fprintln(r.out, l.URL)
			r.say("devloop daemon token prints the token")
			return nil
		},
	}
	c.Flags().BoolVar(&request.AllowRemote, "allow-remote", false, "take an address that other machines reach; what goes over it is not encrypted")
	return c
}

// daemonTokenVerb prints the token.
func daemonTokenVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "token", Short: "Print the token of the daemon that listens on TCP", Args: cobra.NoArgs,
		Long: `token prints what requests over TCP must send as "Authorization: Bearer TOKEN". Whoever has it can do what you can do with
devloop, which includes running commands. It ends with its daemon.`,
		RunE: func(*cobra.Command, []string) error {
			workspace, err := r.findWorkspace()
			if err != nil {
				return err
			}
			file, err := control.TokenPath(workspace)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				return &control.Error{What: "no daemon of this workspace listens on TCP", Hint: "devloop daemon listen", Exit: control.ExitEnvironment}
			}
			if err != nil {
				return &control.Error{What: fmt.Sprintf("read the token: %v", err), Hint: "ask as the user whose daemon it is", Exit: control.ExitEnvironment}
			}
			fmt.Fprintln(r.out, strings.TrimSpace(string(b)))
			return nil
		},
	}
}

// asEnvironment gives an error of the daemon its exit code: a bad devloop.yaml is usage, all else environment.
func asEnvironment(err error) error {
	var known *control.Error
	switch {
	case errors.As(err, &known):
		return err
	case config.IsError(err):
		return &control.Error{What: err.Error(), Exit: control.ExitUsage}
	case errors.Is(err, daemon.ErrRunning):
		return &control.Error{What: err.Error(), Hint: "devloop status shows it, devloop down ends it; devloop daemon listen has it serve on TCP", Exit: control.ExitEnvironment}
	}
	return &control.Error{What: err.Error(), Hint: "devloop doctor", Exit: control.ExitEnvironment}
}
