// Package nodeagent is the server in devloop-agent: it captures on one node of a cluster, keeps the packets in a bounded
// ring, and gives them to whoever has the token. capture/agent is its client and has the types of its API.
//
// # Pod
//
// The agent runs in a DaemonSet. Its pod needs:
//
//	spec:
//	  hostPID: false                                     # nor hostNetwork, nor a service account's token
//	  automountServiceAccountToken: false                # it never asks the Kubernetes API
//	  containers:
//	  - args: [serve]
//	    env:
//	    - {name: DEVLOOP_AGENT_NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
//	    - {name: DEVLOOP_AGENT_POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
//	    - {name: DEVLOOP_AGENT_TOKEN, valueFrom: {secretKeyRef: {name: devloop-agent, key: token}}}
//	    securityContext:
//	      runAsUser: 0                                   # the capabilities mean nothing to others
//	      readOnlyRootFilesystem: true
//	      allowPrivilegeEscalation: false
//	      seccompProfile: {type: RuntimeDefault}
//	      capabilities: {drop: [ALL], add: [BPF, PERFMON, NET_ADMIN]}
//	    readinessProbe: {exec: {command: [/devloop-agent, health]}}   # it listens on 127.0.0.1 only
//	    resources: {requests: {memory: 32Mi, cpu: 50m}, limits: {memory: 128Mi}}
//	    volumeMounts:
//	    - {name: cgroup, mountPath: /host/cgroup, readOnly: true}
//	    - {name: ring, mountPath: /ring}
//	  volumes:
//	  - {name: cgroup, hostPath: {path: /sys/fs/cgroup}}
//	  - {name: ring, emptyDir: {sizeLimit: 384Mi}}       # the ring's 256 MiB, and segments that readers hold open
//
// Where the kernel refuses eBPF the agent captures with AF_PACKET instead, when the container also has the capabilities
// SYS_ADMIN and NET_RAW and the volume hostPath /run/netns at /run/netns, readOnly, with mountPropagation HostToContainer.
//
// The namespace needs the Pod Security level privileged, for the capabilities and the hostPath.
// # Faults
//
// PUT /faults says what is to be done to the traffic of some pods (package fault): programs at their cgroups turn connections to relays
// in the agent's pod, whose own words are not recorded, or lose packets. It takes the tap's capabilities and no more; the
// programs go with the agent.
//
// # What is captured
//
// The tap is attached at the root of the node's cgroup v2 hierarchy, and what is not wanted is left out in the kernel:
// everything in no pod, pods by rule, and always the agent's own. A pod is known by the UID in its cgroup's folder
// ([Identify]); names are the business of the client, who may ask the API server.
package nodeagent
