package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Require is the environment variable that turns skips into failures: `make test` and CI set it.
const Require = "DEVLOOP_REQUIRE"

// missing skips the test with a sentence, or fails it where everything was promised to be there.
func missing(t testing.TB, sentence string) {
	t.Helper()
	if os.Getenv(Require) != "" {
		t.Fatalf("%s (%s is set, so this is a failure)", sentence, Require)
	}
	t.Skip(sentence)
}

// NeedsRoot skips unless the test runs as root on Linux.
func NeedsRoot(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		missing(t, "needs root on Linux: run `make test`, or `sudo go test`")
	}
}

// NeedsProgram skips unless a program is on the PATH, and returns where it is.
func NeedsProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "needs the program "+name+" on the PATH")
	}
	return path
}

// NeedsFolder skips unless an environment variable names a folder that exists, and returns the folder.
func NeedsFolder(t testing.TB, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if info, err := os.Stat(dir); dir == "" || err != nil || !info.IsDir() {
		missing(t, "needs "+variable+" to name a folder")
	}
	return dir
}

// NeedsFull skips under `go test -short` and unless everything was promised to be there; it is for tests of many seconds.
func NeedsFull(t testing.TB) {
	t.Helper()
	if os.Getenv(Require) == "" {
		t.Skip("takes many seconds: run by `make test`")
	}
}

// NeedsAsked skips unless an environment variable asks for a test that takes minutes, and returns what it says. Nothing promises such tests.
func NeedsAsked(t testing.TB, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Skipf("takes minutes: %s=1 asks for it", variable)
	}
	return value
}

// NeedsEngine skips unless a container engine answered; err is what asking it gave.
func NeedsEngine(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		missing(t, "needs a container engine: run `scripts/dockerd-for-tests.sh start` as root ("+err.Error()+")")
	}
}

// NeedsClients skips unless scripts/setup.sh has installed the clients of MCP, and returns the PATH on which these find each
// other and the node that they want.
func NeedsClients(t testing.TB) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(home, ".cache", "devloop", "npm", "node_modules")
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	node := filepath.Join(modules, "node-linux-"+arch, "bin")
	for _, file := range []string{filepath.Join(node, "node"), filepath.Join(modules, ".bin", "conformance")} {
		if _, err := os.Stat(file); err != nil {
			missing(t, "needs the clients of MCP from npm: run scripts/setup.sh")
		}
	}
	list := string(os.PathListSeparator)
	return node + list + filepath.Join(modules, ".bin") + list + os.Getenv("PATH")
}

// Workbench is a VS Code that runs in a browser, what drives it, and what builds our extension for it.
type Workbench struct {
	Modules string // folder of node_modules with code-server and playwright-core
	Browser string // program
}

// NeedsWorkbench skips unless scripts/setup.sh has installed a VS Code workbench and the packages that build the extension.
func NeedsWorkbench(t testing.TB, extension string) Workbench {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	w := Workbench{Modules: filepath.Join(home, ".cache", "devloop", "workbench", "node_modules")}
	for _, name := range []string{"chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && w.Browser == "" {
			w.Browser = path
		}
	}
	if w.Browser == "" {
		missing(t, "needs chromium or google-chrome on the PATH")
	}
	NeedsProgram(t, "node")
	for _, file := range []string{filepath.Join(w.Modules, "code-server", "lib", "vscode", "out"), filepath.Join(extension, "node_modules", "installed")} {
		if _, err := os.Stat(file); err != nil {
			missing(t, "needs a VS Code workbench and the extension's packages from npm: run scripts/setup.sh")
		}
	}
	return w
}
