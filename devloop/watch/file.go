package watch

import (
	"hash/maphash"
	"io"
	"os"
	"time"
)

const (
	maxHash   = 1 << 20  // a larger file counts as changed when its time or size does
	maxHashed = 64 << 20 // of all files at the first look, so that a huge repository does not delay it
)

// file is what is remembered of a file.
type file struct {
	size int64
	time time.Time
	hash uint64 // of the content; 0 where that is not known
}

func (f file) same(g file) bool { return f.size == g.size && f.time.Equal(g.time) }

// stat follows links to files, not to folders: those might lead in circles.
func (w *Watcher) stat(rel string) (file, bool) {
	if w.ignored(rel, false) {
		return file{}, false
	}
	info, err := os.Stat(w.absolute(rel))
	if err != nil || !info.Mode().IsRegular() {
		return file{}, false
	}
	return file{size: info.Size(), time: info.ModTime()}, true
}

var seed = maphash.MakeSeed()

// hash is never 0 for content that was read.
func (w *Watcher) hash(rel string, f file) uint64 {
	if f.size > maxHash {
		return 0
	}
	r, err := os.Open(w.absolute(rel))
	if err != nil {
		return 0
	}
	defer r.Close()
	var h maphash.Hash
	h.SetSeed(seed)
	if _, err := io.Copy(&h, io.LimitReader(r, maxHash)); err != nil {
		return 0
	}
	return max(1, h.Sum64())
}
