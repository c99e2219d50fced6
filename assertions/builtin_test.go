package assertions

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A check of the profile agent is judged in it, or where it is asked for by its name; a glob asks for none.
func TestProfiles(t *testing.T) {
	t.Parallel()
	var every, agent []string
	for _, b := range builtins() {
		if b.agent {
			agent = append(agent, b.name)
			if b.next == "" {
				t.Errorf("%s does not say what to do next", b.name)
			}
		} else {
			every = append(every, b.name)
		}
	}
	s := &Suite{}
	for name, c := range map[string]struct {
		options  CheckOptions
		want     []string
		compares bool
	}{
		"default":        {CheckOptions{}, every, false},
		"default named":  {CheckOptions{Profile: ProfileDefault}, every, false},
		"agent":          {CheckOptions{Profile: ProfileAgent}, slices.Concat(every, agent), true},
		"a glob":         {CheckOptions{Only: []string{"builtin/*"}}, every, false},
		"one by name":    {CheckOptions{Only: []string{"builtin/secret-in-url"}}, []string{"builtin/secret-in-url"}, false},
		"one that looks": {CheckOptions{Only: []string{"builtin/new-egress"}}, []string{"builtin/new-egress"}, true},
		"some of agent":  {CheckOptions{Profile: ProfileAgent, Only: []string{"builtin/m*"}}, []string{"builtin/metadata-address"}, false},
		"none":           {CheckOptions{Profile: ProfileAgent, NoBuiltin: true}, nil, false},
	} {
		var got []string
		for _, r := range s.Check(Input{}, c.options) {
			got = append(got, r.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if c.options.Compares() != c.compares {
			t.Errorf("%s: compares %v", name, !c.compares)
		}
	}
	if unknown := s.Unknown(agent); len(unknown) > 0 {
		t.Errorf("unknown: %s", strings.Join(unknown, ", "))
	}
}
