// Package localenv runs the services of a workspace as local processes that meet each other as in a cluster.
//
// Each service has its own cgroup (v2), so that its packets carry its name from the first SYN, and its own network
// namespace on a private bridge, so that addresses, declared ports and names are what they would be in a cluster:
//
//	                host namespace                 the workspace's switch namespace
//	probes, NAT ── dl<hash> 10.77.x.1 ═══veth═══ bridge br0 10.77.x.2 (DNS responder, port 53)
//	                                               ║ veth       ║ veth        ║ veth
//	                                          payment .10   orders .11   exercise .9     one namespace each
//
// The bridge lives in a namespace of its own, not in the host's: there the host's packet filter and br_netfilter
// cannot drop what services say to each other, nothing of the host listens on port 53, and deleting one namespace
// deletes the bridge and every port of it. Only one link, dl<hash>, is to be seen on the host.
//
// A service keeps its namespace and address for the whole session; every start of it gets a new cgroup, so that a
// packet's cgroup tells service and build. A process starts by a fork of a thread that already is in the service's
// network namespace and in a mount namespace where /etc/resolv.conf names our DNS responder, and is created inside its
// cgroup (clone3 with CLONE_INTO_CGROUP): its first instruction runs inside all three.
//
// The loopback of the host does not exist for services: a server on 127.0.0.1 of the host is not reachable from them.
// /etc/hosts is the host's.
//
// Where the rights for namespaces are missing everything runs on one loopback ([ModeLoopback]): ports are allocated by
// the kernel and handed over by environment variables, and packets cannot be told apart by cgroup.
//
// Everything made is named by the hash of the workspace's path and written down before it is made, so that [New] and
// [Clean] remove what a killed run left, and nothing else.
package localenv
