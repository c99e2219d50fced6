package dissect_test

import (
	"testing"

	"github.com/devloop-io/devloop/dissect"
)

// A capture's length limit cuts fragments as well: what the first one has is told.
func TestFragmentsCut(t *testing.T) {
	t.Parallel()
	m := newMaker().open()
	m.send(0, get, 1400)
	m.send(1, ok, 1400)
	m.close(0)
	var got rows
	feed(dissect.New(got.into()), each(cutTo(90))(nil, each(fragmentIPv4)(nil, m.packets, nil), nil), nil)
	if len(got.Calls) != 1 || got.Calls[0].Path != "/items" || !got.Calls[0].HTTP.RequestHeadersCut {
		t.Errorf("the calls are %+v", got.Calls)
	}
}
