package nodeagent

import (
	"regexp"
	"strings"
)

// Identity is what a cgroup's folder says about who is in it.
type Identity struct {
	Pod       string // UID, in the form that the API server has it
	Container string // id; empty in a pod's own folder
	Runtime   string // containerd, cri-o, docker, when the folder says it
	QoS       string // guaranteed, burstable, besteffort
	Host      string // for what is in no pod: the unit or folder
}

// Name is the interface's name: pod/UID/CONTAINER or host/NAME.
func (i Identity) Name() string {
	if i.Pod == "" {
		return "host/" + i.Host
	}
	return "pod/" + i.Pod + "/" + i.Container
}

var (
	// The systemd driver escapes the UID's dashes. A static pod's UID is the hash of its manifest, without dashes.
	podFolder = regexp.MustCompile(`(?:^|-)pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?$`)
	// PREFIX-ID.scope of the systemd driver; ID alone, or crio-ID, of cgroupfs.
	containerFolder = regexp.MustCompile(`^(?:([a-z][a-z0-9-]*?)-)?([0-9a-f]{32,64})(?:\.scope)?$`)
)

var runtimes = map[string]string{"cri-containerd": "containerd", "containerd": "containerd", "nerdctl": "containerd", "crio": "cri-o", "docker": "docker", "libpod": "podman"}

// Identify reads a cgroup's path below the node's root, as the kubelet's two drivers and the container runtimes make it:
//
//	kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podUID.slice/cri-containerd-ID.scope
//	kubepods/besteffort/podUID/ID
//	system.slice/containerd.service/kubepods-podUID.slice:cri-containerd:ID
//
// Folders that a container makes for itself belong to the container.
func Identify(path string) Identity {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var id Identity
	for i, part := range parts {
		slice, scope, joined := strings.Cut(part, ":") // a runtime with the wrong driver writes SLICE:PREFIX:ID for a path
		m := podFolder.FindStringSubmatch(slice)
		if m == nil {
			continue
		}
		id.Pod, id.QoS = strings.ReplaceAll(m[1], "_", "-"), qos(parts[:i+1])
		switch {
		case joined:
			id.container(strings.Replace(scope, ":", "-", 1))
		case i+1 < len(parts):
			id.container(parts[i+1])
		}
		return id
	}
	id.Host = host(parts)
	return id
}

func (i *Identity) container(folder string) {
	m := containerFolder.FindStringSubmatch(folder)
	if m == nil || m[1] == "crio-conmon" { // the monitor of a container is not the container
		return
	}
	i.Container, i.Runtime = m[2], runtimes[m[1]]
}

func qos(parts []string) string {
	for _, p := range parts {
		for _, class := range []string{"besteffort", "burstable"} {
			if p == class || strings.Contains(p, "-"+class) {
				return class
			}
		}
	}
	return "guaranteed"
}

// host is the unit that a path lies in, without systemd's ending.
func host(parts []string) string {
	for _, p := range parts {
		for _, end := range []string{".service", ".scope"} {
			if name, ok := strings.CutSuffix(p, end); ok && name != "" {
				return name
			}
		}
	}
	if last := strings.TrimSuffix(parts[len(parts)-1], ".slice"); last != "" {
		return last
	}
	return "kernel"
}

// holdsPods says whether a folder is the one that all pods lie in.
func holdsPods(path string) bool {
	base := path[strings.LastIndexByte(path, '/')+1:]
	return base == "kubepods" || base == "kubepods.slice" || strings.HasSuffix(base, "-kubepods.slice")
}
