package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// NeedsBrowser skips unless there is a Chromium, node, and what scripts/npm/dashboard/install.sh installs to drive it with. It returns the
// browser's program and the folder of the packages.
func NeedsBrowser(t testing.TB) (chromium, packages string) {
	t.Helper()
	chromium = NeedsProgram(t, "chromium")
	NeedsProgram(t, "node")
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "there is no cache folder: "+err.Error())
	}
	packages = filepath.Join(cache, "devloop", "npm-dashboard")
	if _, err := os.Stat(filepath.Join(packages, "node_modules", "playwright-core", "package.json")); err != nil {
		missing(t, "playwright-core is not there to drive a browser with: scripts/npm/dashboard/install.sh installs it")
	}
	return chromium, packages
}
