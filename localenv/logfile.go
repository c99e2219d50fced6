package localenv

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

const (
	logLimit  = 10 << 20 // bytes in a log before it is moved aside
	logsKept  = 5        // logs of earlier starts, per service
	tailLines = 40       // for crash reports
	tailBytes = 16 << 10
)

// createLog makes the log file of one start, for the owner's eyes only. The process writes to it itself: no pipe, no
// copying while requests are measured.
func createLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

// boundLog moves the content of a log that grew over its limit into <path>.1 and empties it. The process keeps its
// open file: it appends, so it goes on at the new end. What it writes in between is lost, and the log says so.
func boundLog(path string, limit int64) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= limit {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	// The end is what people look for; a process that wrote gigabytes in a second must not fill the disk twice.
	if _, err := in.Seek(max(0, info.Size()-limit), io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(path+".1", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, io.LimitReader(in, limit)); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.Truncate(path, 0); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "[devloop: this log reached %d bytes; what came before is in %s.1]\n", info.Size(), filepath.Base(path))
	return err
}

// logTail is the end of a log: whole lines, bounded in number and bytes.
func logTail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-tailBytes)
	text := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(text, from)
	text = text[:n]
	if from > 0 {
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// removeOldLogs keeps the newest few logs of a service.
func removeOldLogs(dir, name string) {
	found, _ := filepath.Glob(filepath.Join(dir, name+".*.log*"))
	type aged struct {
		path string
		at   int64
	}
	var logs []aged
	for _, path := range found {
		if info, err := os.Stat(path); err == nil {
			logs = append(logs, aged{path, info.ModTime().UnixNano()})
		}
	}
	sort.Slice(logs, func(i, j int) bool { return logs[i].at > logs[j].at })
	for i, l := range logs {
		if i >= logsKept {
			os.Remove(l.path)
		}
	}
}
