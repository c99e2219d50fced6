package supervise

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
)

// Push is the command beside the supervisor: it reads a Switch and a program, keeps the program, has the supervisor
// switch to it, and passes its events on. When the input ends before the program is whole nothing has changed.
func Push(dir string, in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, 1<<16)
	s, err := readSwitch(r)
	if err != nil {
		return err
	}
	if s.Size > 0 {
		if err := keep(dir, s, r); err != nil {
			return err
		}
	} else if _, err := os.Stat(program(dir, s)); err != nil {
		return json.NewEncoder(out).Encode(Event{Phase: PhaseMissing, Build: s.Build})
	}
	conn, err := net.Dial("unix", filepath.Join(dir, "sock"))
	if err != nil {
		return fmt.Errorf("reach the supervisor: %w", err)
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(request{Switch: s}); err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	go func() { // "go" goes through as it comes; the end of the input ends the switch's wait too
		_, _ = io.CopyN(conn, r, int64(len(Go)))
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	_, err = io.Copy(out, conn)
	return err
}

// Watch passes on what the supervisor says: first what runs, then each change, until the output or the supervisor ends.
func Watch(dir string, in io.Reader, out io.Writer) error {
	conn, err := net.Dial("unix", filepath.Join(dir, "sock"))
	if err != nil {
		return fmt.Errorf("reach the supervisor: %w", err)
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(request{Watch: true}); err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	go func() { // whoever watches holds the input open; when it goes, so does this process
		_, _ = io.Copy(io.Discard, in)
		conn.Close()
	}()
	_, err = io.Copy(out, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Install copies the supervisor itself into a folder that other containers mount.
func Install(dir string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read the supervisor: %w", err)
	}
	defer self.Close()
	return write(filepath.Join(dir, "supervise"), self, 0o755)
}

// request is the one line that the supervisor reads on its socket.
type request struct {
	Switch *Switch `json:"switch,omitempty"`
	Watch  bool    `json:"watch,omitempty"`
}

func program(dir string, s *Switch) string {
	return filepath.Join(dir, "bin", s.Sum[:16], s.Name)
}

// keep writes a program down and checks that it is the one that was meant.
func keep(dir string, s *Switch, r io.Reader) error {
	path := program(dir, s)
	// The folder lies in an emptyDir of this pod, and another container of it may run as another user.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make room for the program: %w", err)
	}
	sum := sha256.New()
	err := write(path+".new", io.TeeReader(io.LimitReader(r, s.Size), sum), 0o755)
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != s.Sum {
		err = fmt.Errorf("the program that arrived is not the one that was announced: it was cut or changed on the way")
	}
	if err != nil {
		_ = os.Remove(path + ".new") // the error that matters is the one before
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keep the program: %w", err)
	}
	forget(filepath.Join(dir, "bin"), s.Sum[:16])
	return nil
}

// forget removes all programs but the newest few; the running one may go, its process does not need the file.
func forget(dir, newest string) {
	const most = 3
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for len(entries) > most {
		oldest := -1
		for i, e := range entries {
			if e.Name() != newest && (oldest < 0 || age(e) < age(entries[oldest])) {
				oldest = i
			}
		}
		_ = os.RemoveAll(filepath.Join(dir, entries[oldest].Name())) // a leftover costs memory of the pod only
		entries = append(entries[:oldest:oldest], entries[oldest+1:]...)
	}
}

func age(e os.DirEntry) int64 {
	info, err := e.Info()
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}

// write writes a file whole or not at all under its name, executable at once: closing it before it is renamed keeps
// "text file busy" away.
func write(path string, r io.Reader, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
