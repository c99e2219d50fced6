package shop_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/internal/config"
)

func TestDevloopYAMLLoads(t *testing.T) {
	c, err := config.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Exercises["checkout-rush"]; !ok || c.Environment.Default != "local" {
		t.Errorf("want the exercise checkout-rush and the environment local, got %v and %q", c.Exercises, c.Environment.Default)
	}
	for name, s := range c.Services {
		if s.EnvFile != "faults.env" {
			t.Errorf("service %s does not read faults.env", name)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, s.Go, "main.go")); err != nil {
			t.Errorf("service %s: %v", name, err)
		}
	}
}

func TestNoFaultIsCommitted(t *testing.T) {
	env, err := config.ReadEnvFile("faults.env")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"FAULTS": ""}, env); diff != "" {
		t.Errorf("faults.env (-want +got):\n%s", diff)
	}
}

// faultRow is an entry of faults.yaml.
type faultRow struct {
	Fault, Check      string
	Builtin, Services []string
}

func faultTable(t *testing.T) []faultRow {
	t.Helper()
	var table struct{ Faults []faultRow }
	read(t, "faults.yaml", &table)
	return table.Faults
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestFaultsAndChecksBelongTogether holds code, faults.yaml, faults.md and checks/ against each other: every fault has
// exactly one check, and every check a fault that proves that it can fail.
func TestFaultsAndChecksBelongTogether(t *testing.T) {
	var planted, caught []string
	told, err := os.ReadFile("faults.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faultTable(t) {
		planted, caught = append(planted, f.Fault), append(caught, f.Check)
		if row := "| `" + f.Fault + "` |"; !strings.Contains(string(told), row) || !strings.Contains(string(told), f.Check) {
			t.Errorf("faults.md lacks %s or its check %q", f.Fault, f.Check)
		}
		if len(f.Services) == 0 {
			t.Errorf("faults.yaml names no service for %s", f.Fault)
		}
	}
	if diff := cmp.Diff(shop.Faults, planted); diff != "" {
		t.Errorf("faults in the code and in faults.yaml (-code +file):\n%s", diff)
	}
	var checks []string
	files, err := filepath.Glob("checks/*.netcheck.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		var content struct{ Checks []struct{ Name string } }
		read(t, file, &content)
		for _, c := range content.Checks {
			checks = append(checks, c.Name)
		}
	}
	slices.Sort(checks)
	slices.Sort(caught)
	if diff := cmp.Diff(checks, caught); diff != "" {
		t.Errorf("checks and what the faults are caught by (-checks +faults):\n%s", diff)
	}
}
