package dissect

import (
	"maps"

	"github.com/devloop-io/devloop/traffic"
)

// Peek hands out the rows of all connections that are remembered, as they stand, and the account of the window so far. It
// ends nothing: unlike after [Dissector.EndWindow] everything goes on as if nobody had looked.
func (d *Dissector) Peek(row func(*traffic.Connection)) traffic.Account {
	for _, c := range d.ordered() {
		row(d.row(c))
	}
	account := d.account
	account.Ignored, account.Malformed, account.GivenUp = maps.Clone(account.Ignored), maps.Clone(account.Malformed), maps.Clone(account.GivenUp)
	return account
}
