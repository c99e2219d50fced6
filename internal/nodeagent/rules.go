package nodeagent

import (
	"strings"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/capture/tap"
)

// self is what the agent never captures: a stream of packets that it sends would be captured again on every hop.
type self struct {
	pod    string // UID
	cgroup uint64
}

// choose translates rules to choices by cgroup. What is in no pod goes by the root's choice, pods that the rules do not
// name by that of the folder which all pods lie in: so a new pod's first packet is chosen rightly before anybody here
// has seen its folder. A pod's choice holds for its containers.
func choose(rules agent.Rules, me self, root uint64, groups []group) tap.Choices {
	named := map[string]tap.Choice{}
	for _, uid := range rules.Pods {
		named[uid] = tap.Capture
	}
	for _, uid := range rules.Exclude {
		named[uid] = tap.Ignore
	}
	if me.pod != "" {
		named[me.pod] = tap.Ignore
	}
	unknown, host := tap.Capture, tap.Ignore
	if rules.Unknown == agent.Ignore {
		unknown = tap.Ignore
	}
	if rules.Host {
		host = tap.Capture
	}
	c := tap.Choices{CGroups: map[uint64]tap.Choice{root: host}, Ports: rules.Ports}
	pods := map[string]string{} // UID to the path of its topmost folder
	for _, g := range groups {  // parents come first
		switch {
		case g.ID == me.cgroup:
			c.CGroups[g.ID] = tap.Ignore
		case len(c.CGroups) >= tap.MaxChoices:
		case g.Pod == "":
			if holdsPods(g.Path) {
				c.CGroups[g.ID] = unknown
			}
		default:
			top, seen := pods[g.Pod]
			if seen && strings.HasPrefix(g.Path, top+"/") {
				continue
			}
			pods[g.Pod] = g.Path
			if choice, ok := named[g.Pod]; ok {
				c.CGroups[g.ID] = choice
			} else {
				c.CGroups[g.ID] = unknown
			}
		}
	}
	return c
}

// captured says what choices mean for each group.
func captured(c tap.Choices, root uint64, groups []group) []bool {
	byPath := map[string]tap.Choice{"": c.CGroups[root]}
	list := make([]bool, len(groups))
	for i, g := range groups {
		choice, ok := c.CGroups[g.ID]
		if !ok {
			choice = byPath[g.Path[:max(strings.LastIndexByte(g.Path, '/'), 0)]]
		}
		byPath[g.Path] = choice
		list[i] = choice != tap.Ignore
	}
	return list
}
