package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

//go:generate go test . -run TestReferenceIsCurrent -update

var update = flag.Bool("update", false, "rewrite docs/cli.md")

// TestReferenceIsCurrent compares docs/cli.md with the commands as they are.
func TestReferenceIsCurrent(t *testing.T) {
	file, want := filepath.Join("..", "..", "docs", "cli.md"), reference(newRoot().tree())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), want); diff != "" {
		t.Errorf("docs/cli.md is stale: run go generate ./cmd/devloop (-file +commands):\n%s", diff)
	}
}

// reference is docs/cli.md.
func reference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Generated from the commands in cmd/devloop by `go generate ./cmd/devloop`. Do not edit. -->\n\n# Commands\n\n%s\n\n", fenced(root.Long))
	b.WriteString("Data is on standard output, progress on standard error. `-o json` is for programs, `-o jsonl` prints one row a line.\n" +
		"Every flag `--a-b` can be set as `DEVLOOP_A_B` in the environment as well; what is typed wins.\n\n")
	b.WriteString("| command | |\n|---|---|\n")
	every(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), cell(c.Short))
	})
	b.WriteString("| `devloop completion SHELL` | completion for bash, zsh, fish and powershell |\n\n")
	fmt.Fprintf(&b, "Flags of every command:\n\n%s\n", fenced(root.PersistentFlags().FlagUsages()))
	every(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
		if c.Long != "" {
			fmt.Fprintf(&b, "\n%s\n", c.Long)
		}
		text := c.UseLine()
		if c.Example != "" {
			text += "\n\n" + c.Example
		}
		if flags := c.LocalNonPersistentFlags().FlagUsages(); flags != "" {
			text += "\n\n" + flags
		}
		fmt.Fprintf(&b, "\n%s\n", fenced(text))
	})
	return b.String()
}

// every visits the commands that are no mere folder of others, in the order of help.
func every(c *cobra.Command, do func(*cobra.Command)) {
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		if sub.Runnable() {
			do(sub)
		}
		every(sub, do)
	}
}

func fenced(text string) string { return "```\n" + strings.Trim(text, "\n") + "\n```" }

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
