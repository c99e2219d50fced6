package scaffold

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/devloop-io/devloop/internal/config"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata/*.txtar")

// Every testdata/*.txtar is a repository; its last file, "changes", is what init writes into it, as a diff. Applied,
// the configuration must load, and a second plan must change nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			inputs, want := a.Files, ""
			if last := a.Files[len(a.Files)-1]; last.Name == "changes" {
				inputs, want = a.Files[:len(a.Files)-1], string(last.Data)
			}
			dir := unpack(t, inputs)
			got := planned(t, dir)
			if *update {
				a.Files = append(inputs[:len(inputs):len(inputs)], txtar.File{Name: "changes", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			changes, err := Plan(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := Apply(dir, changes); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(dir); err != nil {
				t.Errorf("what was written does not load: %v", err)
			}
			if again := planned(t, dir); again != "" {
				t.Errorf("a second run changes:\n%s", again)
			}
		})
	}
}

func unpack(t *testing.T, files []txtar.File) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func planned(t *testing.T, dir string) string {
	t.Helper()
	changes, err := Plan(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range changes {
		b.WriteString(c.Diff())
	}
	return b.String()
}

func TestApplyRefusesWhatChangedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := unpack(t, []txtar.File{{Name: "a", Data: []byte("mine")}})
	err := Apply(dir, []Change{{Path: "b", After: []byte("new")}, {Path: "a", Before: []byte("old"), After: []byte("new")}})
	if err == nil {
		t.Fatal("Apply wrote over a file that changed")
	}
	if _, err := os.Stat(filepath.Join(dir, "b")); !os.IsNotExist(err) {
		t.Errorf("Apply wrote another file before it refused: %v", err)
	}
}

func TestSetMember(t *testing.T) {
	t.Parallel()
	entry := server{"stdio", "devloop", []string{"mcp"}}
	for _, c := range []struct{ name, text, want, err string }{
		{name: "no file", text: "", want: "{\n  \"servers\": {\n    \"devloop\": {\n      \"type\": \"stdio\",\n      \"command\": \"devloop\",\n      \"args\": [\n        \"mcp\"\n      ]\n    }\n  }\n}\n"},
		{name: "empty object", text: "{}\n", want: "{\n  \"servers\": {\n    \"devloop\": {\n      \"type\": \"stdio\",\n      \"command\": \"devloop\",\n      \"args\": [\n        \"mcp\"\n      ]\n    }\n  }\n}\n"},
		{name: "comments, order and tabs stay", text: "// mine\n{\n\t\"z\": 1, // one\n\t\"servers\": {\n\t\t\"other\": {\"command\": \"x\"} // keep\n\t},\n\t\"a\": [1, 2,]\n}\n",
			want: "// mine\n{\n\t\"z\": 1, // one\n\t\"servers\": {\n\t\t\"other\": {\"command\": \"x\"}, // keep\n\t\t\"devloop\": {\n\t\t\t\"type\": \"stdio\",\n\t\t\t\"command\": \"devloop\",\n\t\t\t\"args\": [\n\t\t\t\t\"mcp\"\n\t\t\t]\n\t\t}\n\t},\n\t\"a\": [1, 2,]\n}\n"},
		{name: "trailing comma", text: "{\n  \"servers\": {\n    \"other\": {},\n  },\n}\n",
			want: "{\n  \"servers\": {\n    \"other\": {},\n    \"devloop\": {\n      \"type\": \"stdio\",\n      \"command\": \"devloop\",\n      \"args\": [\n        \"mcp\"\n      ]\n    },\n  },\n}\n"},
		{name: "there already, other arguments", text: `{"servers":{"devloop":{"command":"/opt/devloop"}}}`, want: `{"servers":{"devloop":{"command":"/opt/devloop"}}}`},
		{name: "no object", text: `[]`, err: "the file is not a JSON object: line 1: expected {"},
		{name: "servers is a list", text: "{\n\"servers\": []}", err: "\"servers\" is not an object: line 2: expected {"},
		{name: "cut", text: "{\n\"servers\": {\n", err: "the file is not a JSON object: line 3: expected \""},
		{name: "two values", text: "{} {}", err: "line 1: expected the end of the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := setMember(c.text, "servers", "devloop", entry)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" || message != c.err {
				t.Fatalf("error %q, want %q (-want +got):\n%s", message, c.err, diff)
			}
			if err != nil {
				return
			}
			if again, err := setMember(got, "servers", "devloop", entry); again != got || err != nil {
				t.Errorf("a second time changes it, error %v:\n%s", err, again)
			}
		})
	}
}

func FuzzSetMember(f *testing.F) {
	f.Add("{\"a\": [1, {}], /* c */ \"servers\": {\"x\": \"y\"},}")
	f.Add("{\"servers\": {} // c\n}")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := setMember(text, "servers", "devloop", 1)
		if err != nil {
			return
		}
		if again, err := setMember(got, "servers", "devloop", 1); again != got || err != nil {
			t.Errorf("%q became %q and then %q, error %v", text, got, again, err)
		}
	})
}

func TestMCPClients(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("HOME", home)
	t.Setenv("AppData", home)
	dir := t.TempDir()
	for _, client := range Clients {
		c, err := MCPClient(dir, client)
		if err != nil {
			t.Fatal(err)
		}
		if err := Apply(dir, []Change{c}); err != nil {
			t.Fatal(err)
		}
		again, err := MCPClient(dir, client)
		if diff := again.Diff(); diff != "" || err != nil {
			t.Errorf("%s is registered twice, error %v:\n%s", client, err, diff)
		}
		if key := map[bool]string{true: `"servers"`, false: `"mcpServers"`}[client == "vscode"]; !strings.Contains(string(c.After), key) {
			t.Errorf("%s: no %s in\n%s", client, key, c.After)
		}
	}
	if _, err := MCPClient(dir, "emacs"); err == nil {
		t.Error("an unknown client is accepted")
	}
}

func TestMergeBlockKeepsTheRest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"new", "", "B\nx\nE\n"},
		{"appended", "mine", "mine\n\nB\nx\nE\n"},
		{"replaced", "a\nB\nold\nlines\nE\nz\n", "a\nB\nx\nE\nz\n"},
		{"windows", "a\r\n", "a\r\n\r\nB\r\nx\r\nE\r\n"},
	} {
		got, err := mergeBlock(c.text, "B", "E", "x\n")
		if got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	if _, err := mergeBlock("B\nno end\n", "B", "E", "x"); err == nil {
		t.Error("a mark without its end is accepted")
	}
}
