package nodeagent

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/capture/tap"
)

const (
	uid  = "0f3b7a52-9c1d-4e5f-8a6b-7c8d9e0f1a2b"
	uid_ = "0f3b7a52_9c1d_4e5f_8a6b_7c8d9e0f1a2b"
	hash = "d41d8cd98f00b204e9800998ecf8427e" // a static pod's
	box  = "4e1243bd22c66e76c2ba9eddc1f91394e57f9f83dfd11d4f0b7a0c5e1a3d6b21"
)

func TestIdentify(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]Identity{
		"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_ + ".slice/cri-containerd-" + box + ".scope":                                                                {uid, box, "containerd", "burstable", ""},
		"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid_ + ".slice/crio-" + box + ".scope":                                                                        {uid, box, "cri-o", "besteffort", ""},
		"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid_ + ".slice/crio-" + box + ".scope/container":                                                              {uid, box, "cri-o", "besteffort", ""},
		"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uid_ + ".slice/crio-conmon-" + box + ".scope":                                                                 {uid, "", "", "besteffort", ""},
		"kubepods.slice/kubepods-pod" + uid_ + ".slice/docker-" + box + ".scope":                                                                                                           {uid, box, "docker", "guaranteed", ""},
		"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + uid_ + ".slice/cri-containerd-" + box + ".scope":                        {uid, box, "containerd", "besteffort", ""},
		"docker/" + box + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + uid_ + ".slice/cri-containerd-" + box + ".scope/a/b.c": {uid, box, "containerd", "burstable", ""},
		"kubepods/besteffort/pod" + uid + "/" + box:                                                       {uid, box, "", "besteffort", ""},
		"kubepods/pod" + uid + "/crio-" + box:                                                             {uid, box, "cri-o", "guaranteed", ""},
		"kubepods/burstable/pod" + uid:                                                                    {uid, "", "", "burstable", ""},
		"kubepods/burstable/pod" + hash + "/" + box:                                                       {hash, box, "", "burstable", ""},
		"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash + ".slice":                {hash, "", "", "burstable", ""},
		"system.slice/containerd.service/kubepods-besteffort-pod" + uid_ + ".slice:cri-containerd:" + box: {uid, box, "containerd", "besteffort", ""},
		"system.slice/kubelet.service":                                                                    {"", "", "", "", "kubelet"},
		"kubelet.slice/kubelet.service":                                                                   {"", "", "", "", "kubelet"},
		"system.slice/containerd.service":                                                                 {"", "", "", "", "containerd"},
		"user.slice/user-0.slice/session-3.scope":                                                         {"", "", "", "", "session-3"},
		"init.scope":               {"", "", "", "", "init"},
		"kubepods.slice":           {"", "", "", "", "kubepods"},
		"docker/" + box:            {"", "", "", "", box},
		"kubepods/pod12345/" + box: {"", "", "", "", box},
		"tripod" + uid:             {"", "", "", "", "tripod" + uid},
		"":                         {"", "", "", "", "kernel"},
	} {
		if diff := cmp.Diff(want, Identify(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_ + ".slice/cri-containerd-" + box + ".scope")
	f.Add("system.slice/containerd.service/kubepods-besteffort-pod" + uid_ + ".slice:cri-containerd:" + box)
	f.Add("///.scope")
	f.Fuzz(func(t *testing.T, path string) {
		id := Identify(path)
		if (id.Pod == "") == (id.Host == "") {
			t.Errorf("%q is %+v", path, id)
		}
		if strings.ContainsAny(id.Pod+id.Container, "/_. ") || utf8.RuneCountInString(id.Pod) > 36 || len(id.Container) > 64 {
			t.Errorf("%q is %+v", path, id)
		}
	})
}

func TestChoose(t *testing.T) {
	t.Parallel()
	other := strings.Replace(uid, "0f", "1f", 1)
	mine := strings.Replace(uid, "0f", "2f", 1)
	var groups []group
	id := map[string]uint64{"": 1}
	for i, path := range []string{
		"kubepods", "kubepods/besteffort", "kubepods/besteffort/pod" + uid, "kubepods/besteffort/pod" + uid + "/" + box,
		"kubepods/pod" + other, "kubepods/pod" + other + "/" + box, "kubepods/pod" + mine, "kubepods/pod" + mine + "/" + box,
		"system.slice", "system.slice/kubelet.service", "system.slice/containerd.service",
		"system.slice/containerd.service/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice:cri-containerd:" + box,
	} {
		id[path] = uint64(i + 2)
		groups = append(groups, group{ID: id[path], Path: path, Identity: Identify(path)})
	}
	for name, c := range map[string]struct {
		rules agent.Rules
		want  string // one letter a group: c captured, - not
	}{
		"by default all pods but our own": {agent.Rules{}, "cccccc-----c"},
		"one pod is excluded":             {agent.Rules{Exclude: []string{uid}}, "cc--cc------"},
		"one pod only":                    {agent.Rules{Pods: []string{uid}, Unknown: agent.Ignore}, "--cc-------c"},
		"excluded wins":                   {agent.Rules{Pods: []string{uid}, Exclude: []string{uid}, Unknown: agent.Ignore}, "------------"},
		"the host too":                    {agent.Rules{Host: true}, "cccccc--cccc"},
		"ourselves never":                 {agent.Rules{Pods: []string{mine}, Unknown: agent.Ignore}, "------------"},
	} {
		choices := choose(c.rules, self{pod: mine}, 1, groups)
		var got strings.Builder
		for _, yes := range captured(choices, 1, groups) {
			got.WriteByte(map[bool]byte{true: 'c', false: '-'}[yes])
		}
		if got.String() != c.want {
			t.Errorf("%s: got %s, want %s", name, got.String(), c.want)
		}
		if _, ok := choices.CGroups[id["kubepods/besteffort/pod"+uid+"/"+box]]; ok {
			t.Errorf("%s: a container has a choice of its own", name)
		}
	}
	if c := choose(agent.Rules{}, self{cgroup: id["kubepods/pod"+other]}, 1, groups); c.CGroups[id["kubepods/pod"+other]] != tap.Ignore {
		t.Error("our own cgroup is captured")
	}
}
