package dissect_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// compareReal checks what a real client and a real server said: in the capture that testdata has and, where the machine
// has what that needs, in one that is made anew.
func compareReal(t *testing.T, name string, needs func(testing.TB), check func(t *testing.T, file string)) {
	golden := filepath.Join("testdata", name, "input.pcapng")
	if *update {
		needs(t)
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		child(t, name, golden)
	}
	t.Run("golden", func(t *testing.T) { check(t, golden) })
	t.Run("live", func(t *testing.T) {
		needs(t)
		file := filepath.Join(t.TempDir(), name+".pcapng")
		child(t, name, file)
		check(t, file)
	})
}

// writeLog keeps what a client noted of its calls beside their capture.
func writeLog(file string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file+".log", b, 0o644)
}

func readLog[T any](t *testing.T, file string) (log []T) {
	t.Helper()
	b, err := os.ReadFile(file + ".log")
	if err == nil {
		err = json.Unmarshal(b, &log)
	}
	if err != nil {
		t.Fatal(err)
	}
	return log
}
