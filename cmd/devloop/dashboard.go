package main

import (
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// dashboardVerb opens the page about calls, services and verdicts.
func dashboardVerb(r *root) *cobra.Command {
	var printOnly bool
	c := &cobra.Command{
		Use: "dashboard", Short: "Open the dashboard in a browser: live calls, the service map, verdicts", Args: cobra.NoArgs,
		Long: `dashboard has the workspace's daemon serve its page on 127.0.0.1, and opens it. The address opens the page once, within two minutes:
what follows its # is a code that the page exchanges for a key of its own, and browsers send it to nobody. A tab keeps its key until it is
closed or the daemon ends; after that this command opens the page again.`,
		Example: "  devloop dashboard\n  devloop dashboard --print   # on another machine: ssh -L 8898:127.0.0.1:8898 machine, after devloop daemon listen 127.0.0.1:8898",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			d, err := control.OpenDashboard.Ask(ctx, c, struct{}{}, nil)
			if err != nil {
				return err
			}
			if !r.text() {
				return r.json(d)
			}
			if !printOnly && r.browse(d.URL) == nil {
				r.say("opened in the browser; devloop dashboard --print prints an address instead")
				return nil
			}
			fmt.Fprintln(r.out, d.URL)
			r.say("opens once, within %d seconds", d.Seconds)
			return nil
		},
	}
	c.Flags().BoolVar(&printOnly, "print", false, "print the address instead of opening it")
	return c
}

// browse opens an address in the browser of whoever sits here. The browser is given a file that leads there: what stands in an argument can be
// read by every user of the machine, and the address has a code.
func (r *root) browse(address string) error {
	workspace, err := r.findWorkspace()
	if err != nil {
		return err
	}
	dir, err := control.RuntimeDir()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, control.WorkspaceHash(workspace)+".html")
	lead := fmt.Sprintf("<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url=%s\">", html.EscapeString(address))
	_ = os.Remove(file) // an older one may have another owner or mode
	if err := os.WriteFile(file, []byte(lead), 0o600); err != nil {
		return err
	}
	opener, err := browser(file)
	if err != nil {
		return err
	}
	if err := opener.Start(); err != nil {
		return err
	}
	go func() { _ = opener.Wait() }() // some openers stay until the browser ends
	return nil
}

// browser is the command that opens a file in a browser, where there is a screen.
func browser(file string) (*exec.Cmd, error) {
	switch runtime.GOOS {
	case "darwin":
		return exec.Command("open", file), nil
	case "windows":
		return exec.Command("rundll32", "url.dll,FileProtocolHandler", file), nil
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return nil, errors.New("there is no screen")
	}
	return exec.Command("xdg-open", file), nil
}
