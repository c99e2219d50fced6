package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/devloop-io/devloop/traffic/redact"
)

// Folder is the name of the state folder in a workspace.
const Folder = ".devloop"

// Options are the settings of a [Store]. Zero values mean the defaults.
type Options struct {
	MaxSize int64         // of all snapshots together: 1 GiB
	MaxAge  time.Duration // of a snapshot: a week
	Redact  redact.Options
	Now     func() time.Time
}

// Store is the state folder of one workspace. It is safe for concurrent use, also by several processes.
type Store struct {
	dir      string
	o        Options
	key      []byte
	redactor *redact.Redactor

	mu    sync.Mutex
	inUse map[string]int // open Snapshots by id

	create func(path string) (io.WriteCloser, error) // of snapshot files; tests fill the disk with it
}

// Open opens the state folder dir, usually <workspace>/.devloop, makes what is missing and removes what a crash left.
func Open(dir string, o Options) (*Store, error) {
	if o.MaxSize <= 0 {
		o.MaxSize = 1 << 30
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 7 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir, o: o, inUse: map[string]int{}, create: createFile}
	for _, d := range []string{dir, s.RingDir(), s.snapshots()} {
		if err := privateDir(d); err != nil {
			return nil, fmt.Errorf("open store %s: %w", dir, full(err))
		}
	}
	if err := s.gitignore(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, full(err))
	}
	if s.key, err = openKey(filepath.Join(dir, "key")); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, full(err))
	}
	s.redactor = redact.New(s.key, o.Redact)
	s.sweep()
	return s, nil
}

// Dir is the state folder.
func (s *Store) Dir() string { return s.dir }

// RingDir is the folder of the recorder's segments.
func (s *Store) RingDir() string { return filepath.Join(s.dir, "ring") }

// BaselinesDir is the folder of baselines, the one part of the state that belongs to git.
func (s *Store) BaselinesDir() string { return filepath.Join(s.dir, "baselines") }

// Redactor hides secrets with this workspace's key.
func (s *Store) Redactor() *redact.Redactor { return s.redactor }

func (s *Store) snapshots() string { return filepath.Join(s.dir, "snapshots") }

func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

const gitignore = "# Written by devloop: only accepted baselines belong to git.\n*\n!.gitignore\n!baselines/\n!baselines/**\n"

func (s *Store) gitignore() error {
	path := filepath.Join(s.dir, ".gitignore")
	if _, err := os.Lstat(path); err == nil {
		return nil // the user's own edits stay
	}
	return os.WriteFile(path, []byte(gitignore), 0o644)
}

const keySize = 32

// openKey reads the workspace's key, or makes it. The key appears whole under its name, whoever of two processes is
// first.
func openKey(path string) ([]byte, error) {
	for range 3 {
		key, err := os.ReadFile(path)
		if err == nil && len(key) == keySize {
			return key, os.Chmod(path, 0o600)
		}
		if err == nil {
			return nil, fmt.Errorf("read redaction key %s: %d bytes instead of %d; delete it, and hashes start anew", path, len(key), keySize)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read redaction key: %w", err)
		}
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("make redaction key: %w", err)
		}
	}
	return nil, fmt.Errorf("make redaction key %s: it vanishes as soon as it is made", path)
}

func makeKey(path string) error {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.%d.%x", path, os.Getpid(), key[:4])
	defer os.Remove(tmp)
	if err := os.WriteFile(tmp, key, 0o600); err != nil {
		return err
	}
	if err := os.Link(tmp, path); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(tmp, path) // no hard links here
}

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,64})*$`)

// checkID keeps ids from leaving the folder.
func checkID(id string) error {
	if len(id) > 128 || !validID.MatchString(id) {
		return fmt.Errorf("snapshot id %q: use letters, digits, dashes and dots", id)
	}
	return nil
}

// path is where a snapshot lies.
func (s *Store) path(id string) string { return filepath.Join(s.snapshots(), id) }

const tempPrefix = ".tmp-"

// ourTemps are the temporary folders of this process that are still being filled.
var ourTemps sync.Map

// temp makes a folder beside the snapshots. The caller renames it, or calls drop.
func (s *Store) temp() (dir string, drop func(), err error) {
	dir, err = os.MkdirTemp(s.snapshots(), tempPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", nil, err
	}
	ourTemps.Store(dir, true)
	return dir, func() { os.RemoveAll(dir); ourTemps.Delete(dir) }, nil
}

// sweep removes the temporary folders of processes that are gone.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.snapshots())
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), tempPrefix)
		if !ok {
			continue
		}
		dir := filepath.Join(s.snapshots(), e.Name())
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if _, busy := ourTemps.Load(dir); busy || err == nil && pid != os.Getpid() && alive(pid) {
			continue
		}
		os.RemoveAll(dir)
	}
}

func createFile(path string) (io.WriteCloser, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// full says in plain words that the disk is full.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.Errno(122)) { // 122: quota, on Linux
		return fmt.Errorf("the disk is full: %w", err)
	}
	return err
}
