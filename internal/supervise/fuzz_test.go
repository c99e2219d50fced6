package supervise

import (
	"bufio"
	"bytes"
	"testing"
)

// FuzzReadSwitch: whatever comes in, what is accepted names a file inside of the folder.
func FuzzReadSwitch(f *testing.F) {
	f.Add([]byte(`{"build":"a","sum":"0000000000000000000000000000000000000000000000000000000000000000","name":"app"}` + "\n"))
	f.Add([]byte(`{"build":"a","sum":"..","name":"../x","size":-1}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSwitch(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if s.Name == "" || s.Name == ".." || bytes.ContainsRune([]byte(s.Name), '/') || len(s.Sum) != 64 || s.Size < 0 {
			t.Errorf("accepted %+v", s)
		}
	})
}
