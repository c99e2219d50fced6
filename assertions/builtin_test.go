package assertions

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/internal/config"
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
		"default named":  {CheckOptions{Profile: config.ProfileDefault}, every, false},
		"agent":          {CheckOptions{Profile: config.ProfileAgent}, slices.Concat(every, agent), true},
		"a glob":         {CheckOptions{Only: []string{"builtin/*"}}, every, false},
		"one by name":    {CheckOptions{Only: []string{"builtin/secret-in-url"}}, []string{"builtin/secret-in-url"}, false},
		"one that looks": {CheckOptions{Only: []string{"builtin/new-egress"}}, []string{"builtin/new-egress"}, true},
		"some of agent":  {CheckOptions{Profile: config.ProfileAgent, Only: []string{"builtin/m*"}}, []string{"builtin/metadata-address"}, false},
		"none":           {CheckOptions{Profile: config.ProfileAgent, NoBuiltin: true}, nil, false},
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

func TestMetadataNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"169.254.169.254": true, "169.254.169.254:80": true, "169.254.170.2": true, "[fd00:ec2::254]:80": true, "fd00:ec2::254": true,
		"Metadata.Google.Internal.": true, "metadata.google.internal:80": true,
		"": false, "169.254.169.253": false, "metadata.example": false, "[::1]:80": false,
	} {
		if isMetadataName(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
