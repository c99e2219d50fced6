package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/devloop-io/devloop/internal/glob"
)

// Options of [New]; the zero value is fine.
type Options struct {
	Ignore []string      // globs of files and folders that are never looked at
	Rest   time.Duration // without events, before a batch is delivered; 50ms by default
	Cap    time.Duration // that a batch waits at most while events keep coming; 2s by default
	Poll   time.Duration // between two looks where the kernel cannot tell; 3s by default
	Log    *slog.Logger  // none by default
}

// Batch is what changed since the last one.
type Batch struct {
	// Paths are relative to the root, with slashes, sorted: changed, new and removed files. No folders.
	Paths []string
	// Overflow says that the kernel lost events and everything was looked at again. Paths are right all the same.
	Overflow bool
}

// Match says whether a path matches one of the globs of devloop.yaml; ** stands for any number of folders.
func Match(globs []string, path string) bool { return glob.Match(globs, path) }

// Watcher watches the files under one folder.
type Watcher struct {
	root    string
	o       Options
	source  notifier
	files   map[string]file // by path relative to the root
	folders map[string]bool // watched, relative; "." is the root
	polling error           // why the kernel cannot tell, where it cannot
	looks   chan look
	hashed  int64 // bytes that the first look may still hash
}

// look asks for everything that changed up to now.
type look struct{ answer chan Batch }

// notifier is the part of fsnotify that is used; tests bring their own.
type notifier interface {
	Add(dir string) error
	Remove(dir string) error
	Close() error
	channels() (<-chan fsnotify.Event, <-chan error)
}

type kernel struct{ *fsnotify.Watcher }

func (k kernel) channels() (<-chan fsnotify.Event, <-chan error) { return k.Events, k.Errors }

// New remembers all files under root as they are now: [Watcher.Run] tells what changed since then.
func New(root string, o Options) (*Watcher, error) {
	source, err := fsnotify.NewWatcher()
	if err != nil {
		return newWatcher(root, nil, err, o)
	}
	return newWatcher(root, kernel{source}, nil, o)
}

func newWatcher(root string, source notifier, polling error, o Options) (*Watcher, error) {
	o.Rest, o.Cap, o.Poll = cmp.Or(o.Rest, 50*time.Millisecond), cmp.Or(o.Cap, 2*time.Second), cmp.Or(o.Poll, 3*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", root, err)
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("watch %s: %w", root, cmp.Or(err, error(syscall.ENOTDIR)))
	}
	w := &Watcher{root: root, o: o, source: source, files: map[string]file{}, folders: map[string]bool{}, hashed: maxHashed, looks: make(chan look)}
	if polling != nil {
		w.poll(polling)
	}
	w.walk(".", func(rel string, f file) { w.files[rel] = f })
	return w, nil
}

// Polling says why changes are found by looking every few seconds, and is nil where the kernel tells.
func (w *Watcher) Polling() error { return w.polling }

// poll gives up on the kernel and says so once.
func (w *Watcher) poll(why error) {
	if w.polling != nil {
		return
	}
	w.polling = why
	hint := ""
	switch {
	case errors.Is(why, syscall.ENOSPC):
		hint = "raise the limit: sysctl fs.inotify.max_user_watches=1048576"
	case errors.Is(why, syscall.EMFILE):
		hint = "raise the limit: sysctl fs.inotify.max_user_instances=1024"
	}
	w.o.Log.Warn("the kernel cannot watch all folders: looking for changes regularly instead", "every", w.o.Poll, "error", why, "hint", hint)
}

// Close ends the watching. Not while Run runs: end that through its context.
func (w *Watcher) Close() error {
	if w.source == nil {
		return nil
	}
	return w.source.Close()
}

// Look looks at every file now and returns what changed since the last batch: whoever saved before the call finds the
// save in it, or in a batch that was delivered before it returns. It needs Run to be running, and deliver not to wait for
// the caller of Look.
func (w *Watcher) Look(ctx context.Context) (Batch, error) {
	l := look{make(chan Batch, 1)}
	select {
	case w.looks <- l:
	case <-ctx.Done():
		return Batch{}, context.Cause(ctx)
	}
	select {
	case b := <-l.answer:
		return b, nil
	case <-ctx.Done():
		return Batch{}, context.Cause(ctx)
	}
}

// Run calls deliver with each batch, one at a time, until the context ends; what changes while deliver works comes with
// the next batch. Then it closes the watcher.
func (w *Watcher) Run(ctx context.Context, deliver func(Batch)) error {
	defer w.Close()
	var (
		events <-chan fsnotify.Event
		errs   <-chan error
		idle   = make(chan struct{}, 1) // holds a token while deliver does not work
		c      = coalescer{rest: w.o.Rest, limit: w.o.Cap}
		timer  = time.NewTimer(w.o.Poll)
		next   = time.Now().Add(w.o.Poll)
	)
	if w.source != nil {
		events, errs = w.source.channels()
	}
	defer timer.Stop()
	idle <- struct{}{}
	defer func() { <-idle }() // the last deliver has returned
	for {
		var free chan struct{}
		timer.Stop()
		switch due, ok := c.due(); {
		case ok && !due.After(time.Now()):
			free = idle
		case ok:
			timer.Reset(time.Until(due))
		case w.polling != nil:
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return errors.New("watch: the event stream ended")
			}
			w.event(e, &c)
		case err, ok := <-errs:
			if !ok {
				return errors.New("watch: the event stream ended")
			}
			w.trouble(err, &c)
		case l := <-w.looks:
			c.all(time.Now(), false)
			b := w.compare(&c)
			go func() {
				<-idle // the batch before has been delivered
				l.answer <- b
				idle <- struct{}{}
			}()
		case <-timer.C:
			if now := time.Now(); w.polling != nil && !now.Before(next) {
				c.all(now, false)
				next = now.Add(w.o.Poll)
			}
		case <-free:
			b := w.compare(&c)
			if len(b.Paths) == 0 && !b.Overflow {
				idle <- struct{}{}
				continue
			}
			go func() {
				defer func() { idle <- struct{}{} }()
				deliver(b)
			}()
		}
	}
}

// event notes what to look at. New folders are watched at once and then listed: what was put into them before the
// watch began made no event.
func (w *Watcher) event(e fsnotify.Event, c *coalescer) {
	rel, ok := w.relative(e.Name)
	if !ok || e.Op == fsnotify.Chmod {
		return
	}
	now := time.Now()
	if e.Has(fsnotify.Create) {
		if info, err := os.Lstat(e.Name); err == nil && info.IsDir() {
			w.walk(rel, func(rel string, _ file) { c.add(rel, now) })
			return
		}
	}
	if w.folders[rel] && e.Op&(fsnotify.Remove|fsnotify.Rename) != 0 {
		w.forget(rel)
	}
	c.add(rel, now)
}

// forget ends the watches of a folder that is gone; a folder of that name that comes back is watched anew.
func (w *Watcher) forget(rel string) {
	for f := range w.folders {
		if f == rel || strings.HasPrefix(f, rel+"/") {
			delete(w.folders, f)
			_ = w.source.Remove(w.absolute(f)) // the kernel may have ended it already
		}
	}
}

func (w *Watcher) trouble(err error, c *coalescer) {
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		w.o.Log.Info("the kernel lost file events: looking at everything again")
		c.all(time.Now(), true)
		return
	}
	w.o.Log.Warn("watching files", "error", err)
	c.all(time.Now(), false)
}

// compare returns what really changed of the noted paths, and remembers it.
func (w *Watcher) compare(c *coalescer) Batch {
	noted, all, overflow := c.take()
	changed := map[string]bool{}
	if all {
		w.rescan(changed)
	} else {
		for rel := range noted {
			w.look(rel, changed)
		}
	}
	return Batch{Paths: slices.Sorted(maps.Keys(changed)), Overflow: overflow}
}

// rescan looks at all files, also those that went away.
func (w *Watcher) rescan(changed map[string]bool) {
	seen := map[string]bool{}
	w.walk(".", func(rel string, f file) {
		seen[rel] = true
		w.update(rel, f, changed)
	})
	for rel := range w.files {
		if !seen[rel] {
			delete(w.files, rel)
			changed[rel] = true
		}
	}
}

// look looks at one path: a file, or a folder that is gone with all that was in it.
func (w *Watcher) look(rel string, changed map[string]bool) {
	if f, ok := w.stat(rel); ok {
		w.update(rel, f, changed)
		return
	}
	for known := range w.files {
		if known == rel || strings.HasPrefix(known, rel+"/") {
			delete(w.files, known)
			changed[known] = true
		}
	}
}

func (w *Watcher) update(rel string, f file, changed map[string]bool) {
	old, known := w.files[rel]
	if known && old.same(f) {
		return
	}
	f.hash = w.hash(rel, f)
	w.files[rel] = f
	if !known || old.size != f.size || old.hash == 0 || old.hash != f.hash {
		changed[rel] = true
	}
}

// walk watches the folders from rel down and calls visit for each file. What cannot be read is left out: it may be
// gone already, and then its own event comes.
func (w *Watcher) walk(rel string, visit func(rel string, f file)) {
	if rel != "." && w.ignored(rel, true) {
		return
	}
	if !w.folders[rel] {
		if w.polling == nil {
			if err := w.source.Add(w.absolute(rel)); errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) {
				w.poll(err)
			}
		}
		w.folders[rel] = true
	}
	entries, err := os.ReadDir(w.absolute(rel))
	if err != nil {
		w.o.Log.Debug("list a folder", "folder", rel, "error", err)
	}
	for _, e := range entries {
		child := e.Name()
		if rel != "." {
			child = rel + "/" + child
		}
		if e.IsDir() {
			w.walk(child, visit)
		} else if f, ok := w.stat(child); ok {
			if _, known := w.files[child]; !known && w.hashed > 0 {
				f.hash = w.hash(child, f)
				w.hashed -= f.size
			}
			visit(child, f)
		}
	}
}

func (w *Watcher) absolute(rel string) string {
	return filepath.Join(w.root, filepath.FromSlash(rel))
}

func (w *Watcher) relative(name string) (string, bool) {
	rel, err := filepath.Rel(w.root, name)
	if err != nil || rel == "." || !filepath.IsLocal(rel) {
		return "", false
	}
	rel = filepath.ToSlash(rel)
	return rel, !w.ignored(rel, w.folders[rel])
}

func (w *Watcher) ignored(rel string, folder bool) bool {
	base := rel[strings.LastIndexByte(rel, '/')+1:]
	if folder && glob.Pruned(base) || !folder && scratch(base) {
		return true
	}
	return glob.Match(w.o.Ignore, rel)
}

// scratch says whether editors keep a file of this name beside the one that is edited.
func scratch(base string) bool {
	switch {
	case strings.HasSuffix(base, "~"), strings.HasPrefix(base, ".#"), strings.HasPrefix(base, "#") && strings.HasSuffix(base, "#"):
		return true
	case strings.HasPrefix(base, ".") && (strings.HasSuffix(base, ".swp") || strings.HasSuffix(base, ".swx") || strings.HasSuffix(base, ".swo")):
		return true
	case base == "4913", strings.HasSuffix(base, "___jb_tmp___"), strings.HasSuffix(base, "___jb_old___"):
		return true // vim's test whether it may write here; JetBrains' safe write
	}
	return false
}
