package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLockIsForOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(path); !errors.Is(err, ErrRunning) {
		t.Errorf("a second lock: %v, want ErrRunning", err)
	}
	unlock()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
	again, err := lock(path)
	if err != nil {
		t.Fatalf("after unlocking: %v", err)
	}
	again()
}
