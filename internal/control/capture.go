package control

import "context"

// The values of [CaptureStatus.State].
const (
	Capturing      = "capturing"
	CaptureStopped = "stopped" // the agents run and record nothing
	CaptureNone    = "none"    // nothing runs yet, or packets cannot be captured here
)

// CaptureTargets choose the pods of a cluster that are captured. Each of them takes away; without any, the workspace's own
// namespace is captured.
type CaptureTargets struct {
	Namespaces []string          `json:"namespaces,omitempty" jsonschema:"only these namespaces; [\"*\"] means all but the cluster's own; the workspace's namespace by default"`
	Excluded   []string          `json:"excluded_namespaces,omitempty" jsonschema:"not these, even when they are in namespaces"`
	PodRegex   string            `json:"pod_regex,omitempty" jsonschema:"only pods whose name this Go regular expression matches somewhere"`
	Labels     map[string]string `json:"labels,omitempty" jsonschema:"only pods that have all of these labels"`
	Ports      []uint16          `json:"ports,omitempty" jsonschema:"only packets from or to these TCP and UDP ports"`
}

// CaptureStatus answers "capture": what is captured, and by whom.
type CaptureStatus struct {
	Environment string          `json:"environment" jsonschema:"local, kind or cluster"`
	State       string          `json:"state" jsonschema:"capturing; stopped: the agents run and record nothing; none: nothing runs yet, or packets cannot be captured here"`
	Source      string          `json:"source,omitempty" jsonschema:"tap, afpacket or agent"`
	Why         string          `json:"why,omitempty" jsonschema:"why there is no capture, or no better one"`
	Targets     *CaptureTargets `json:"targets,omitempty" jsonschema:"the choice, in a cluster"`
	Services    []string        `json:"services,omitempty" jsonschema:"what is captured, in the local environment"`
	Namespaces  []string        `json:"targeted_namespaces,omitempty" jsonschema:"namespaces of the captured pods"`
	Pods        []string        `json:"targeted_pods,omitempty" jsonschema:"captured pods as namespace/name"`
	Cluster     *Span           `json:"cluster,omitempty" jsonschema:"what the rings of all nodes hold"`
	Nodes       []CaptureNode   `json:"nodes,omitempty" jsonschema:"the agent of each node"`
	Warnings    []string        `json:"warnings,omitempty"`
	Next        string          `json:"next" jsonschema:"what to do now"`
}

// Span is a stretch of time in Unix milliseconds; both are 0 when there were no packets.
type Span struct {
	Oldest int64 `json:"oldest_ts"`
	Newest int64 `json:"newest_ts"`
}

// CaptureNode is the agent of one node, and its ring.
type CaptureNode struct {
	Name string `json:"name"`
	Span
	OK        bool    `json:"ok"`
	Problem   string  `json:"problem,omitempty" jsonschema:"why it is not well"`
	Source    string  `json:"source,omitempty" jsonschema:"tap, afpacket or none"`
	Degraded  string  `json:"degraded,omitempty" jsonschema:"why it is not the tap"`
	Packets   uint64  `json:"packets" jsonschema:"recorded since the agent started"`
	Dropped   uint64  `json:"dropped" jsonschema:"lost in the kernel since the agent started"`
	RSS       int64   `json:"rss_bytes"`
	CPU       float64 `json:"cpu_seconds" jsonschema:"since the agent started"`
	Segments  int     `json:"segments"`
	RingBytes int64   `json:"ring_bytes"`
	RingLimit int64   `json:"ring_limit_bytes"`
}

// SwitchRequest starts or stops capture in a cluster.
type SwitchRequest struct {
	On      bool            `json:"on"`
	Targets *CaptureTargets `json:"targets,omitempty"` // to begin with; nil leaves them
}

// Capture asks what is captured.
func (c *Client) Capture(ctx context.Context) (*CaptureStatus, error) {
	return ask[CaptureStatus](ctx, c, "capture", struct{}{}, nil)
}

// ConfigureCapture chooses the pods that are captured from now on.
func (c *Client) ConfigureCapture(ctx context.Context, t CaptureTargets) (*CaptureStatus, error) {
	return ask[CaptureStatus](ctx, c, "configure_capture", t, nil)
}

// SwitchCapture starts or stops capture.
func (c *Client) SwitchCapture(ctx context.Context, r SwitchRequest) (*CaptureStatus, error) {
	return ask[CaptureStatus](ctx, c, "switch_capture", r, nil)
}
