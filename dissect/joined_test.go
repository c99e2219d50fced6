package dissect_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// TestJoinedAnywhere begins captures of real clients at each of their packets. A call that is then complete is one that the whole capture holds, with the
// same answer; and no later request of HTTP/1 is missed.
func TestJoinedAnywhere(t *testing.T) {
	for _, name := range []string{"real_client", "http2", "grpc"} {
		file := filepath.Join("testdata", name, "input.pcapng")
		packets, ifaces := readPackets(file, 1<<20)
		var whole rows
		feed(dissect.New(whole.into()), packets, ifaces)
		is := map[string]int64{} // calls, with the times of their requests
		for _, c := range whole.Calls {
			if c.State == traffic.StateComplete {
				is[joinedLine(c)] = c.Start
			}
		}
		told := 0
		for at := 1; at < len(packets); at++ {
			var got rows
			feed(dissect.New(got.into()), packets[at:], ifaces)
			found := map[string]bool{}
			for _, c := range got.Calls {
				if c.State != traffic.StateComplete {
					continue
				}
				s := joinedLine(c)
				found[s] = true
				if is[s] != 0 {
					told++
				} else if c.HTTP.UnknownHeaders == 0 {
					t.Errorf("%s from packet %d on: %s is not in the whole", name, at, s)
				}
			}
			for s, start := range is {
				if name == "real_client" && start >= packets[at].Time && !found[s] {
					t.Errorf("%s from packet %d on: %s is missed", name, at, s)
				}
			}
		}
		if told == 0 {
			t.Errorf("%s: no call was ever found", name)
		}
	}
}

func joinedLine(c *traffic.Call) string {
	return fmt.Sprint(c.Start, " ", c.Method, " ", c.Path, " ", c.Status, " ", c.ResponseSize)
}
