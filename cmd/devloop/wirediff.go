package main

import (
	"fmt"

	"github.com/devloop-io/devloop/traffic"
)

// printWireDiff writes what a revision does otherwise on the wire than the last one that passed.
func (r *root) printWireDiff(d *traffic.WireDiff) {
	if d == nil {
		return
	}
	w := r.out
	if d.Total == 0 {
		fmt.Fprintf(w, "\nwire: as in %s (%s)\n", d.Since, d.Revision)
		return
	}
	fmt.Fprintf(w, "\nwire: %d differences from %s (%s); %d endpoints as before\n", d.Total, d.Since, d.Revision, d.Unchanged)
	for _, f := range d.Findings {
		sign := "~"
		if f.Improved {
			sign = "+"
		}
		fmt.Fprintf(w, "  %s %s\n      %s\n", sign, harmless(f.Where), harmless(findingLine(f)))
	}
	if more := d.Total - len(d.Findings); more > 0 {
		fmt.Fprintf(w, "  … and %d more: devloop baseline compare lists them against a baseline\n", more)
	}
	if d.Note != "" {
		fmt.Fprintln(w, "  note:", harmless(d.Note))
	}
}
