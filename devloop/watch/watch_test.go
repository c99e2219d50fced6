package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
)

// script is a kernel whose events the test writes.
type script struct {
	events chan fsnotify.Event
	errors chan error
	mu     sync.Mutex
	added  []string
	refuse error // what Add answers
}

func newScript() *script { return &script{} }
func (s *script) Add(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = append(s.added, dir)
	return s.refuse
}
func (s *script) Remove(string) error                             { return nil }
func (s *script) Close() error                                    { return nil }
func (s *script) channels() (<-chan fsnotify.Event, <-chan error) { return s.events, s.errors }

// bench is a watcher over a temporary folder, in a bubble of fake time.
type bench struct {
	*testing.T
	*script
	w       *Watcher
	root    string
	began   time.Time
	batches chan string // "after the start: paths"
	hold    chan struct{}
	cancel  context.CancelFunc
}

// inBubble runs body with a watcher whose kernel is a script; files exist before it starts.
func inBubble(t *testing.T, files map[string]string, kernel *script, body func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		kernel.events, kernel.errors = make(chan fsnotify.Event), make(chan error) // of this bubble
		b := &bench{T: t, script: kernel, root: t.TempDir(), batches: make(chan string, 100)}
		for name, content := range files {
			b.write(name, content)
		}
		w, err := newWatcher(b.root, kernel, nil, Options{Ignore: []string{"tmp"}})
		if err != nil {
			t.Fatal(err)
		}
		b.w = w
		ctx, cancel := context.WithCancel(t.Context())
		b.cancel, b.began = cancel, time.Now()
		done := make(chan error)
		go func() {
			done <- w.Run(ctx, func(batch Batch) {
				text := fmt.Sprintf("%v: %v", time.Since(b.began), batch.Paths)
				if batch.Overflow {
					text += " overflow"
				}
				b.batches <- text
				if b.hold != nil {
					<-b.hold
				}
			})
		}()
		body(b)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (b *bench) write(name, content string) {
	b.Helper()
	path := filepath.Join(b.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		b.Fatal(err)
	}
	// Times of the file system are too coarse to tell two writes of a test apart.
	stamp := time.Now().Add(time.Duration(len(content)+len(name)) * time.Hour)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) event(op fsnotify.Op, name string) {
	b.script.events <- fsnotify.Event{Name: filepath.Join(b.root, name), Op: op}
}

func (b *bench) want(after time.Duration, want ...string) {
	b.Helper()
	time.Sleep(after)
	synctest.Wait()
	var got []string
	for len(b.batches) > 0 {
		got = append(got, <-b.batches)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("batches (-want +got):\n%s", diff)
	}
}

func TestABurstIsOneBatchAfterItsRest(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "a", "b.go": "b"}, newScript(), func(b *bench) {
		b.write("a.go", "changed")
		b.event(fsnotify.Write, "a.go")
		time.Sleep(40 * time.Millisecond)
		b.write("b.go", "changed too")
		b.event(fsnotify.Write, "b.go")
		b.want(time.Second, "90ms: [a.go b.go]")
	})
}

func TestAStreamOfEventsIsCutAtTheCap(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "a"}, newScript(), func(b *bench) {
		b.write("a.go", "changed")
		for range 100 {
			b.event(fsnotify.Write, "a.go")
			time.Sleep(30 * time.Millisecond)
		}
		b.want(time.Second, "2s: [a.go]")
	})
}

func TestASaveThatChangesNothingIsNoBatch(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "same"}, newScript(), func(b *bench) {
		stamp := time.Now().Add(99 * time.Hour)
		if err := os.Chtimes(filepath.Join(b.root, "a.go"), stamp, stamp); err != nil {
			b.Fatal(err)
		}
		b.event(fsnotify.Write, "a.go")
		b.event(fsnotify.Chmod, "a.go")
		b.want(time.Second)
	})
}

func TestWriteBesideAndRenameIsOneChange(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "a"}, newScript(), func(b *bench) {
		b.write("a.go.tmp123", "changed")
		b.event(fsnotify.Create, "a.go.tmp123")
		if err := os.Rename(filepath.Join(b.root, "a.go.tmp123"), filepath.Join(b.root, "a.go")); err != nil {
			b.Fatal(err)
		}
		b.event(fsnotify.Rename, "a.go.tmp123")
		b.event(fsnotify.Create, "a.go")
		b.write(".a.go.swp", "scratch")
		b.event(fsnotify.Create, ".a.go.swp")
		b.want(time.Second, "50ms: [a.go]")
	})
}

func TestANewFolderIsWatchedAndListed(t *testing.T) {
	s := newScript()
	inBubble(t, nil, s, func(b *bench) {
		b.write("new/deep/a.go", "made before its folder was watched")
		b.write("new/node_modules/x.js", "pruned")
		b.write("tmp/x", "ignored")
		b.event(fsnotify.Create, "new")
		b.event(fsnotify.Create, "tmp")
		b.want(time.Second, "50ms: [new/deep/a.go]")
		want := []string{b.root, filepath.Join(b.root, "new"), filepath.Join(b.root, "new", "deep")}
		if diff := cmp.Diff(want, s.added); diff != "" {
			b.Errorf("watched folders (-want +got):\n%s", diff)
		}
	})
}

func TestARemovedFolderTakesItsFilesAlong(t *testing.T) {
	s := newScript()
	inBubble(t, map[string]string{"d/a.go": "a", "d/e/b.go": "b", "dd.go": "stays"}, s, func(b *bench) {
		if err := os.RemoveAll(filepath.Join(b.root, "d")); err != nil {
			b.Fatal(err)
		}
		b.event(fsnotify.Remove, "d")
		b.want(time.Second, "50ms: [d/a.go d/e/b.go]")
		b.write("d/a.go", "back")
		b.event(fsnotify.Create, "d")
		b.want(time.Second, "1.05s: [d/a.go]")
	})
}

func TestAfterAnOverflowEverythingIsLookedAt(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "a", "b.go": "b", "c.go": "c"}, newScript(), func(b *bench) {
		b.write("b.go", "changed")
		b.write("n/new.go", "new")
		if err := os.Remove(filepath.Join(b.root, "c.go")); err != nil {
			b.Fatal(err)
		}
		b.script.errors <- fsnotify.ErrEventOverflow
		b.want(time.Second, "50ms: [b.go c.go n/new.go] overflow")
	})
}

func TestWithoutWatchesItLooksRegularly(t *testing.T) {
	s := newScript()
	s.refuse = &os.SyscallError{Syscall: "inotify_add_watch", Err: syscall.ENOSPC}
	inBubble(t, map[string]string{"a.go": "a"}, s, func(b *bench) {
		b.write("d/b.go", "new")
		b.want(10*time.Second, "3.05s: [d/b.go]")
		b.write("a.go", "changed")
		b.want(3*time.Second, "12.05s: [a.go]")
	})
}

func TestChangesDuringADeliveryComeWithTheNext(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "a"}, newScript(), func(b *bench) {
		b.hold = make(chan struct{})
		b.write("a.go", "one.")
		b.event(fsnotify.Write, "a.go")
		b.want(time.Second, "50ms: [a.go]")
		b.write("a.go", "three")
		b.event(fsnotify.Write, "a.go")
		b.write("b.go", "new")
		b.event(fsnotify.Create, "b.go")
		b.want(time.Second)
		b.hold <- struct{}{}
		b.want(time.Second, "2s: [a.go b.go]")
		b.hold <- struct{}{}
	})
}

func TestLookFindsWhatNoEventToldYet(t *testing.T) {
	inBubble(t, map[string]string{"a.go": "1"}, newScript(), func(b *bench) {
		b.write("a.go", "22")
		got, err := b.w.Look(context.Background())
		if err != nil || !cmp.Equal(got.Paths, []string{"a.go"}) {
			t.Errorf("Look: %v, %v", got, err)
		}
		if again, err := b.w.Look(context.Background()); err != nil || len(again.Paths) > 0 {
			t.Errorf("a second Look: %v, %v", again, err)
		}
	})
}

func TestNewRefusesWhatIsNoFolder(t *testing.T) {
	t.Parallel()
	if _, err := New(filepath.Join(t.TempDir(), "missing"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("New of a missing folder: %v, want ErrNotExist", err)
	}
}

// TestRealKernel is the one test that needs real time: a save, and a folder that appears with its file.
func TestRealKernel(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w, err := New(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen := map[string]bool{}
	go func() {
		_ = os.MkdirAll(filepath.Join(root, "x", "y"), 0o755)
		_ = os.WriteFile(filepath.Join(root, "x", "y", "z.go"), []byte("package y"), 0o644)
		_ = os.WriteFile(filepath.Join(root, "a.go"), []byte("package a"), 0o644)
	}()
	err = w.Run(ctx, func(b Batch) {
		for _, p := range b.Paths {
			seen[p] = true
		}
		if seen["a.go"] && seen["x/y/z.go"] {
			cancel()
		}
	})
	if err != nil || !seen["a.go"] || !seen["x/y/z.go"] {
		t.Errorf("Run: %v; saw %v, want a.go and x/y/z.go", err, seen)
	}
}
