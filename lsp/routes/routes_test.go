package routes

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestFixtures scans a small repository of each framework; want.txt is what is found. Files of Go end in .go.txt, so that
// they are nobody's package.
func TestFixtures(t *testing.T) {
	folders, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if folder.Name() == "fuzz" {
			continue
		}
		t.Run(folder.Name(), func(t *testing.T) {
			dir := filepath.Join("testdata", folder.Name())
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, f := range files {
				if f.Name() == "want.txt" {
					continue
				}
				text, err := os.ReadFile(filepath.Join(dir, f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(string(text), "\n")
				for _, c := range Calls(strings.TrimSuffix(f.Name(), ".txt"), string(text)) {
					fmt.Fprintf(&got, "%s:%d asks %q %s %s | %s\n", f.Name(), c.Line+1, c.Host, c.Method, c.Path, lines[c.Line][c.From:c.To])
				}
				for _, r := range Scan(strings.TrimSuffix(f.Name(), ".txt"), string(text)) {
					method := r.Method
					if method == "" {
						method = "any"
					}
					fmt.Fprintf(&got, "%s:%d %s %s %s | %s\n", f.Name(), r.Line+1, r.Framework, method, r.Path, lines[r.Line][r.From:r.To])
				}
			}
			golden := filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got; -update rewrites it):\n%s", diff)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	list := []Route{
		{Method: "GET", Path: "/items/{}"}, {Method: "", Path: "/items/new"}, {Method: "GET", Path: "/static/{*}"}, {Path: "/{*}"},
		{Method: "gRPC", Path: "Stock/{}"}, {Method: "gRPC", Path: "{}/Reserve"}, {Method: "POST", Path: "/orders"},
	}
	for observed, want := range map[string][]int{
		"GET /items/{id}":             {0},
		"GET /items/7":                {0},
		"HEAD /items/7":               {0},
		"GET /items/new":              {1},
		"POST /items/{id}":            {3},
		"GET /static/a/b.css":         {2},
		"GET /":                       {3},
		"POST /api/v1/orders":         {3},
		"shop.v1.Stock/Reserve":       {4, 5},
		"POST /shop.v1.Stock/Release": {4},
		"shop.v1.Stock/Release":       {4},
		"SELECT a FROM b":             nil,
		"GET":                         nil,
		"":                            nil,
	} {
		if diff := cmp.Diff(want, Match(list, Observe(observed))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", observed, diff)
		}
	}
	if got := Match(list[6:], Observe("POST /api/v1/orders")); len(got) != 1 {
		t.Errorf("a mounted route is not found: %v", got)
	}
}

// FuzzCalls: whatever a file holds, what is found lies in it.
func FuzzCalls(f *testing.F) {
	for _, text := range []string{"http.Get(\"http://a/b\")", "fetch(`${a}/b/${c}`)", "requests.get(f\"{a}/b\")", "http.NewRequest(\"GET\", fmt.Sprintf(\"%s/b\", a), nil)"} {
		f.Add("a.go", "import \"net/http\"\n"+text)
		f.Add("a.ts", text)
		f.Add("a.py", text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		lines := strings.Split(text, "\n")
		for _, c := range Calls(name, text) {
			if c.Line >= len(lines) || c.From < 0 || c.To < c.From || c.To > len(lines[c.Line]) {
				t.Fatalf("%+v lies nowhere", c)
			}
		}
	})
}

// FuzzScan: any text gives routes that lie within it, in bounded number.
func FuzzScan(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(strings.TrimSuffix(name, ".txt"), string(text))
		}
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if len(text) > 1<<14 {
			return
		}
		lines := strings.Split(text, "\n")
		list := Scan(name, text)
		for _, r := range list {
			if r.Line < 0 || r.Line >= len(lines) || r.From < 0 || r.From > r.To || r.To > len(lines[r.Line]) {
				t.Fatalf("%+v is not within its line", r)
			}
			Match(list, Observe(r.Method+" "+r.Path))
		}
		if len(list) > maxRoutes {
			t.Fatalf("%d routes", len(list))
		}
	})
}
