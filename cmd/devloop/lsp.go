package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/lsp"
)

// lspVerb is the face for editors.
func lspVerb(r *root) *cobra.Command {
	c := &cobra.Command{
		Use: "lsp", Short: "Serve editors over stdio (Language Server Protocol)", Args: cobra.NoArgs,
		Long: `lsp speaks the Language Server Protocol 3.17 on standard input and output: for *.netcheck.yaml and devloop.yaml, and for
the lines of source code that register routes.
It shows what the workspace's daemon knows of the wire, and never starts one: devloop up does. The workspace is the folder
that the editor opens, or the nearest one above it that has a devloop.yaml.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			workspace, err := os.Getwd()
			if err != nil {
				return err
			}
			if found, err := r.findWorkspace(); err == nil {
				workspace = found
			}
			return lsp.Serve(cmd.Context(), lsp.Options{
				Version: buildinfo.Version(), Workspace: workspace,
				Connect: func(ctx context.Context, folder string) (*control.Client, error) {
					c, _, err := dialWorkspace(ctx, folder)
					return c, err
				},
			}, os.Stdin, os.Stdout)
		},
	}
	c.Flags().Bool("stdio", true, "what editors pass; it is the only way")
	_ = c.Flags().MarkHidden("stdio")
	return c
}
