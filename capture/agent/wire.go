package agent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Position is a place in an agent's ring. Its text is what the API takes and gives: "RING.SEGMENT.OFFSET".
type Position struct {
	Ring    string // which ring: an agent that moved to an empty folder has another one
	Segment uint64
	Offset  int64 // in the segment's file
}

// String is the position as the API has it.
func (p Position) String() string { return fmt.Sprintf("%s.%d.%d", p.Ring, p.Segment, p.Offset) }

// MarshalText writes the position as the API has it.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what [Position.MarshalText] wrote.
func (p *Position) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ".")
	if len(text) > 128 || len(parts) != 3 || parts[0] == "" {
		return errors.New("read position: it is not RING.SEGMENT.OFFSET")
	}
	segment, err1 := strconv.ParseUint(parts[1], 10, 64)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("read position: %w", err)
	}
	if offset < 0 {
		return errors.New("read position: a negative offset")
	}
	*p = Position{Ring: parts[0], Segment: segment, Offset: offset}
	return nil
}

// Reached says whether somebody at p has everything up to q.
func (p Position) Reached(q Position) bool {
	return p.Ring == q.Ring && (p.Segment > q.Segment || p.Segment == q.Segment && p.Offset >= q.Offset)
}

// Head stands, as JSON, in the comment of each segment's section header.
type Head struct {
	Node    string `json:"node,omitempty"`
	Ring    string `json:"ring"`
	Run     string `json:"run"` // one start of the agent
	Segment uint64 `json:"segment"`
	Before  uint64 `json:"before"` // packets that this run wrote or lost in segments before this one
}

// Segment is one file of the ring.
type Segment struct {
	Seq     uint64 `json:"seq"`
	Bytes   int64  `json:"bytes"`
	Packets uint64 `json:"packets"` // 0 for those of an earlier run
	First   int64  `json:"first_ns,omitempty"`
	Last    int64  `json:"last_ns,omitempty"`
	Dropped uint64 `json:"dropped,omitempty"`
	Growing bool   `json:"growing,omitempty"`
}

// Segments answers GET /segments and POST /snapshot.
type Segments struct {
	Ring     string    `json:"ring"`
	Segments []Segment `json:"segments"`
}

// Boundaries answers GET /boundaries: what the ring holds.
type Boundaries struct {
	Node     string   `json:"node"`
	Source   string   `json:"source"`             // tap, afpacket or none
	Degraded string   `json:"degraded,omitempty"` // why it is not the tap
	Oldest   int64    `json:"oldest_ns,omitempty"`
	Newest   int64    `json:"newest_ns,omitempty"`
	Segments int      `json:"segments"`
	Bytes    int64    `json:"bytes"`
	Limit    int64    `json:"limit_bytes"`
	Packets  uint64   `json:"packets"` // of this run
	Dropped  uint64   `json:"dropped"` // by the kernel, in this run
	Position Position `json:"position"`
}

// The values of [Rules.Unknown].
const (
	Capture = "capture"
	Ignore  = "ignore"
)

// Rules say what is captured. The agent knows pods by UID only: names are the business of whoever sets the rules.
type Rules struct {
	Pods    []string `json:"pods,omitempty"`    // UIDs that are captured
	Exclude []string `json:"exclude,omitempty"` // UIDs that are not, even when they are in Pods
	Ports   []uint16 `json:"ports,omitempty"`   // when there are any: TCP and UDP of these only
	Unknown string   `json:"unknown,omitempty"` // for pods that are in neither list: capture, which is the default, or ignore
	Host    bool     `json:"host,omitempty"`    // also what is in no pod: kubelet, container runtime, system services
}

// Bounds of [Rules].
const (
	MaxPods  = 4096
	MaxPorts = 1024
)

// Validate says what is wrong with rules.
func (r *Rules) Validate() error {
	if len(r.Pods) > MaxPods || len(r.Exclude) > MaxPods || len(r.Ports) > MaxPorts {
		return fmt.Errorf("read targets: at most %d pods and %d ports can be named", MaxPods, MaxPorts)
	}
	for _, uid := range append(append([]string(nil), r.Pods...), r.Exclude...) {
		if len(uid) == 0 || len(uid) > 64 || strings.Trim(uid, "0123456789abcdefABCDEF-") != "" {
			return fmt.Errorf("read targets: %.70q is no pod UID", uid)
		}
	}
	for _, p := range r.Ports {
		if p == 0 {
			return errors.New("read targets: 0 is no port")
		}
	}
	if r.Unknown != "" && r.Unknown != Capture && r.Unknown != Ignore {
		return fmt.Errorf("read targets: unknown is %.20q, and must be capture or ignore", r.Unknown)
	}
	return nil
}

// Matched is one cgroup of the node and what the rules make of it.
type Matched struct {
	CGroup    uint64 `json:"cgroup"`
	Path      string `json:"path"`
	Pod       string `json:"pod,omitempty"` // UID
	Container string `json:"container,omitempty"`
	Runtime   string `json:"runtime,omitempty"`
	QoS       string `json:"qos,omitempty"`
	Process   string `json:"process,omitempty"`
	Captured  bool   `json:"captured"`
}

// Targets answers GET and PUT /targets.
type Targets struct {
	Rules   Rules     `json:"rules"`
	Note    string    `json:"note,omitempty"` // what the source cannot tell apart
	Matched []Matched `json:"matched"`
}

// Stats is what the agent's source received and lost in one run. It answers GET /stats.
type Stats struct {
	Run        string              `json:"run"`
	Now        int64               `json:"now_ns"` // the node's clock
	Received   uint64              `json:"received"`
	Dropped    uint64              `json:"dropped"`
	Interfaces []traffic.Interface `json:"interfaces"` // those that lost something
}

// Flushed answers POST /flush and POST /rotate: everything that was captured before lies before the position.
type Flushed struct {
	Position Position `json:"position"`
	Before   uint64   `json:"before"` // packets of this run in segments before the position's
	Stats    Stats    `json:"stats"`
}

// Health answers GET /health.
type Health struct {
	OK       bool    `json:"ok"`
	Problem  string  `json:"problem,omitempty"`
	Node     string  `json:"node"`
	Source   string  `json:"source"`
	Degraded string  `json:"degraded,omitempty"`
	Kernel   string  `json:"kernel"`
	Version  string  `json:"version"`
	Run      string  `json:"run"`
	Started  int64   `json:"started_ns"`
	Now      int64   `json:"now_ns"`
	Packets  uint64  `json:"packets"`
	Dropped  uint64  `json:"dropped"`
	CGroups  int     `json:"cgroups"`
	Streams  int     `json:"streams"`
	RSS      int64   `json:"rss_bytes"`
	CPU      float64 `json:"cpu_seconds"`
}

// Version answers GET /version.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Arch    string `json:"arch"`
	API     int    `json:"api"`
}

// API is the number of this API. A client and an agent of different numbers do not work together.
const API = 1

// Problem is the body of every answer that is an error.
type Problem struct {
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Error is the message and its hint.
func (p *Problem) Error() string {
	if p.Hint == "" {
		return p.Message
	}
	return p.Message + " (" + p.Hint + ")"
}
