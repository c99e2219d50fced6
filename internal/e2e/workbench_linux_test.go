package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/testenv"
)

// shots is the environment variable that names the folder for what the workbench looked like.
const shots = "DEVLOOP_SHOTS"

// workbench is VS Code with our extension in it, shown in a browser that the test drives.
type workbench struct {
	t       testing.TB
	folder  string // of the server's own things
	url     string
	browser *exec.Cmd
	in      io.Writer
	out     *bufio.Scanner
}

// packaged makes the extension's package once.
var packaged = sync.OnceValues(func() (string, error) {
	file := filepath.Join(root(), "extension", "dist", "test.vsix")
	for _, command := range [][]string{{"node_modules/.bin/tsc", "--noEmit"}, {"node", "esbuild.mjs"}, {"node_modules/.bin/vsce", "package", "--no-dependencies", "--out", file}} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = filepath.Join(root(), "extension")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", command, err, out)
		}
	}
	return file, nil
})

// opened starts VS Code on a server, with the extension as it is packaged, and the browser. What it opens is trusted unless settings say otherwise.
func opened(t testing.TB, settings map[string]any) *workbench {
	t.Helper()
	testenv.NeedsFull(t)
	needs := testenv.NeedsWorkbench(t, filepath.Join(root(), "extension"))
	vsix, err := packaged()
	if err != nil {
		t.Fatal(err)
	}
	b := &workbench{t: t, folder: t.TempDir()}
	all := map[string]any{
		"security.workspace.trust.enabled": false, "workbench.startupEditor": "none", "git.enabled": false, "telemetry.telemetryLevel": "off",
		"workbench.tips.enabled": false, "editor.minimap.enabled": false, "testing.automaticallyOpenTestResults": "neverOpen", "chat.commandCenter.enabled": false,
		"files.autoSave":                   "off", // in a browser it is on
		"extensions.ignoreRecommendations": true, "editor.stickyScroll.enabled": false, "workbench.layoutControl.enabled": false,
		"workbench.colorTheme": "Default Dark Modern", "terminal.integrated.gpuAcceleration": "off", "terminal.integrated.env.linux": map[string]string{"PATH": os.Getenv("PATH")},
	}
	for key, value := range settings {
		all[key] = value
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	b.write("data/User/settings.json", string(text))
	b.write("data/Machine/settings.json", fmt.Sprintf(`{"devloop.path": %q}`, program(t))) // of the machine that the server runs on
	b.write("config.yaml", "auth: none\n")
	server := func(args ...string) *exec.Cmd {
		cmd := exec.Command("node", append([]string{filepath.Join(needs.Modules, "code-server", "out", "node", "entry.js"), "--config", filepath.Join(b.folder, "config.yaml"),
			"--user-data-dir", filepath.Join(b.folder, "data"), "--extensions-dir", filepath.Join(b.folder, "extensions")}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		// No gallery is asked: the extension comes from its package. Nor is a container engine, and a person looks on: what the window
		// shows is the same everywhere.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "XDG_DATA_HOME="+b.folder, "DOCKER_HOST=unix:///nonexistent", "CI=", "NO_COLOR=", `EXTENSIONS_GALLERY={"serviceUrl":"http://127.0.0.1:9/none","itemUrl":"","resourceUrlTemplate":""}`)
		return cmd
	}
	if out, err := server("--install-extension", vsix).CombinedOutput(); err != nil {
		t.Fatalf("install the extension: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // the server takes it
	b.url = "http://" + address + "/"
	log, err := os.Create(filepath.Join(b.folder, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := server("--bind-addr", address, "--auth", "none", "--disable-telemetry", "--disable-update-check")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // its extension host, too
		_ = cmd.Wait()                                      // ended by the signal
		_ = log.Close()
		if t.Failed() {
			t.Log(b.log())
		}
	})
	b.browse(needs)
	b.until("VS Code answers", func() bool {
		answer, err := http.Get(b.url + "healthz")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return b
}

func (b *workbench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// browse starts the browser.
func (b *workbench) browse(needs testenv.Workbench) {
	b.t.Helper()
	script, err := filepath.Abs("testdata/browser.mjs")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	b.browser = exec.CommandContext(ctx, "node", script, needs.Modules, needs.Browser)
	b.browser.Stderr = os.Stderr
	in, err := b.browser.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := b.browser.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.in, b.out = in, bufio.NewScanner(out)
	b.out.Buffer(nil, 64<<20)
	if err := b.browser.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.shot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
		}
		_ = in.Close()
		_ = b.browser.Wait()
		cancel()
	})
}

// ask has the browser do something and reads what it answers.
func (b *workbench) ask(request map[string]any, answer any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		return err
	}
	if !b.out.Scan() {
		return fmt.Errorf("the browser ended at %s: %v", line, b.out.Err())
	}
	var said struct {
		Answer json.RawMessage
		Error  string
	}
	if err := json.Unmarshal(b.out.Bytes(), &said); err != nil {
		return err
	}
	if said.Error != "" {
		return fmt.Errorf("%s: %s", line, said.Error)
	}
	if answer != nil {
		return json.Unmarshal(said.Answer, answer)
	}
	return nil
}

func (b *workbench) do(request map[string]any) {
	b.t.Helper()
	if err := b.ask(request, nil); err != nil {
		b.t.Fatal(err)
	}
}

// open opens a folder.
func (b *workbench) open(folder string) {
	b.t.Helper()
	b.do(map[string]any{"do": "open", "url": b.url + "?folder=" + url.QueryEscape(folder)})
	b.wait(".monaco-workbench .part.statusbar", "")
}

func (b *workbench) wait(selector, text string) {
	b.t.Helper()
	b.do(map[string]any{"do": "wait", "selector": selector, "text": text})
}

func (b *workbench) click(selector, text string) {
	b.t.Helper()
	b.do(map[string]any{"do": "click", "selector": selector, "text": text})
}

func (b *workbench) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.do(map[string]any{"do": "press", "text": key})
	}
}

// texts are what the elements show that a selector finds; attribute names one of theirs instead.
func (b *workbench) texts(selector, attribute string) string {
	b.t.Helper()
	var list []string
	if err := b.ask(map[string]any{"do": "texts", "selector": selector, "attribute": attribute}, &list); err != nil {
		b.t.Fatal(err)
	}
	return strings.ReplaceAll(strings.Join(list, "\n"), "\u00a0", " ")
}

// frames is what webviews show.
func (b *workbench) frames() string {
	b.t.Helper()
	var list []string
	if err := b.ask(map[string]any{"do": "frames"}, &list); err != nil {
		b.t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// command runs a command by its title.
func (b *workbench) command(title string) {
	b.t.Helper()
	b.press("F1")
	b.wait(".quick-input-widget input", "")
	b.do(map[string]any{"do": "type", "text": title})
	b.wait(".quick-input-list .monaco-list-row.focused", title)
	b.press("Enter")
}

// file opens a file of the folder by its name.
func (b *workbench) file(name string) {
	b.t.Helper()
	b.press("Control+p")
	b.wait(".quick-input-widget input", "")
	b.do(map[string]any{"do": "type", "text": name})
	b.wait(".quick-input-list .monaco-list-row.focused", filepath.Base(name))
	b.press("Enter")
	b.wait(".tabs-container .tab.active", filepath.Base(name))
	b.wait(".editor-instance .monaco-editor.focused", "") // which closes a palette that was opened before
}

// status is what our item of the status bar says.
func (b *workbench) status() string { return b.texts(`.statusbar-item[id^="devloop.devloop"]`, "") }

// until waits for something that the workbench is to show.
func (b *workbench) until(what string, true func() bool) {
	b.t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !true() {
		select {
		case <-tick.C:
		case <-deadline.C:
			b.t.Fatalf("not true within 90 s: %s\nstatus: %s", what, b.status())
		}
	}
}

// shot keeps what the workbench looks like in the folder for pictures, and returns it.
func (b *workbench) shot(name string) image.Image {
	folder := os.Getenv(shots)
	if folder == "" {
		folder = b.folder
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(folder, name+".png")
	if err := b.ask(map[string]any{"do": "shot", "file": file}, nil); err != nil {
		b.t.Logf("take a picture: %v", err)
		return nil
	}
	return decode(b.t, file)
}

// pictured takes pictures until one looks like that of the documentation: parts of a window come in their own time. DEVLOOP_SHOTS=docs/images
// takes the documentation's anew.
func (b *workbench) pictured(name string) {
	b.t.Helper()
	want := docsPicture(b.t, name)
	var last float64
	b.until(name+" looks like the picture in docs/images: look at both, and take that one anew if the new one is right", func() bool {
		last = likeness(b.shot(name), want)
		return last >= alikeFrom
	})
	b.t.Logf("%s: %.2f alike", name, last)
}

// turn goes to a window by its number, and opens it where there is none.
func (b *workbench) turn(window int) {
	b.t.Helper()
	b.do(map[string]any{"do": "turn", "window": window})
}

// log is what the extension said, in all windows.
func (b *workbench) log() string {
	var all strings.Builder
	_ = filepath.WalkDir(filepath.Join(b.folder, "data", "logs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "devloop") {
			if text, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(path), text[max(0, len(text)-4000):])
			}
		}
		return nil
	})
	return all.String()
}
