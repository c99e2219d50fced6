package query

// DatabasesRequest asks which sets of calls can be asked (list_databases).
type DatabasesRequest struct{}

// DatabasesAnswer is what db can name.
type DatabasesAnswer struct {
	Databases []DatabaseInfo `json:"databases" jsonschema:"live traffic first, then dissections, newest first"`
	Truncated bool           `json:"truncated"`
}

// DatabaseInfo is one set of calls.
type DatabaseInfo struct {
	Type     string `json:"type" jsonschema:"realtime, or dissection of a snapshot"`
	DB       string `json:"db" jsonschema:"give it as db"`
	Node     string `json:"node,omitempty" jsonschema:"who dissects live traffic"`
	Snapshot string `json:"snapshot,omitempty"`
	Name     string `json:"name,omitempty"`
	Status   string `json:"status" jsonschema:"pending, running, completed, failed or cancelled; of live traffic on, off or idle"`
	Entries  int64  `json:"entry_count" jsonschema:"calls"`
	First    int64  `json:"first_ts" jsonschema:"Unix milliseconds"`
	Last     int64  `json:"last_ts"`
}

// BoundariesRequest asks from when to when packets are recorded (get_data_boundaries).
type BoundariesRequest struct{}

// TimeSpan is a stretch of time in Unix milliseconds; both are 0 where there is nothing.
type TimeSpan struct {
	Oldest int64 `json:"oldest_ts"`
	Newest int64 `json:"newest_ts"`
}

// NodeSpan is the stretch of one node.
type NodeSpan struct {
	Name string `json:"name"`
	TimeSpan
	Problem string `json:"problem,omitempty" jsonschema:"why it is not known"`
}

// Boundaries is what the rings hold: what create_snapshot can take.
type Boundaries struct {
	Cluster TimeSpan   `json:"cluster" jsonschema:"the rings of all nodes together"`
	Nodes   []NodeSpan `json:"nodes"`
	Here    TimeSpan   `json:"here" jsonschema:"the ring of this daemon; in a cluster it has what came since the daemon attached, and snapshots are made of it"`
	Why     string     `json:"why,omitempty" jsonschema:"why there is nothing"`
}

// RawCaptureRequest asks whether packets are recorded (get_raw_capture).
type RawCaptureRequest struct{}

// RawCapture says whether packets are recorded.
type RawCapture struct {
	Enabled bool   `json:"enabled"`
	Session string `json:"session_id,omitempty" jsonschema:"when this recording began, Unix nanoseconds"`
	Why     string `json:"why,omitempty"`
}

// L7Boundaries is from when to when live calls are kept (get_l7_data_boundaries).
type L7Boundaries struct {
	Enabled bool       `json:"dissection_enabled"`
	Cluster TimeSpan   `json:"cluster"`
	Nodes   []NodeSpan `json:"nodes"`
	Why     string     `json:"why,omitempty" jsonschema:"why there is nothing, or nothing new"`
}

// DissectionStatusRequest asks whether live calls are kept (get_dissection_status), or switches that (enable_dissection,
// disable_dissection).
type DissectionStatusRequest struct{}

// DissectionStatus says whether live calls are kept.
type DissectionStatus struct {
	Success     bool               `json:"success"`
	Enabled     bool               `json:"enabled"`
	State       string             `json:"state" jsonschema:"on; off: somebody switched it off; idle: nobody asked for a while; none: nothing is captured"`
	Why         string             `json:"why,omitempty"`
	Calls       int                `json:"calls" jsonschema:"kept now"`
	Connections int                `json:"connections"`
	Bytes       int64              `json:"size_bytes" jsonschema:"about what they take in memory"`
	MaxBytes    int64              `json:"max_bytes"`
	MaxAge      string             `json:"max_age"`
	Forgotten   uint64             `json:"forgotten" jsonschema:"calls that had to make room"`
	DelayMS     float64            `json:"delay_ms" jsonschema:"how far the newest reading was behind the capture"`
	StopAfter   string             `json:"stop_after" jsonschema:"without a question rows are no longer kept"`
	Workers     []DissectionWorker `json:"workers"`
}

// DissectionWorker is who dissects a node's packets.
type DissectionWorker struct {
	Node   string `json:"node"`
	Status string `json:"status"`
}

// CreateSnapshotRequest asks for a snapshot of what was recorded (create_snapshot).
type CreateSnapshotRequest struct {
	Name     string   `json:"name,omitempty" jsonschema:"letters, digits, dashes and dots; made up by default"`
	Duration string   `json:"duration,omitempty" jsonschema:"the last so much, such as 30m or 1h; or start and end"`
	Start    int64    `json:"start,omitempty" jsonschema:"Unix milliseconds, included"`
	End      int64    `json:"end,omitempty" jsonschema:"Unix milliseconds, not included; now by default"`
	Nodes    []string `json:"nodes,omitempty" jsonschema:"only what these nodes captured; all by default"`
}

// SnapshotCreated says that a snapshot is being made; get_snapshot tells when it is there.
type SnapshotCreated struct {
	Success bool   `json:"success"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Status  string `json:"status" jsonschema:"in_progress"`
	Start   int64  `json:"start_ts"`
	End     int64  `json:"end_ts"`
	Note    string `json:"note,omitempty" jsonschema:"what of the asked time is not in the ring"`
}

// SnapshotsRequest asks for all snapshots (list_snapshots).
type SnapshotsRequest struct {
	Limit int `json:"limit,omitempty" jsonschema:"1 to 1000; 100 by default"`
}

// SnapshotsAnswer is all snapshots, newest first, those that are being made included.
type SnapshotsAnswer struct {
	Snapshots []SnapshotInfo `json:"snapshots"`
	Total     int            `json:"total"`
	Size      int64          `json:"total_size_bytes"`
	MaxSize   int64          `json:"max_size_bytes" jsonschema:"beyond it the oldest are deleted, those of iterations first"`
	MaxAge    string         `json:"max_age"`
	Truncated bool           `json:"truncated"`
}

// SnapshotRequest names a snapshot (get_snapshot, delete_snapshot).
type SnapshotRequest struct {
	ID     string `json:"id,omitempty" jsonschema:"from list_snapshots; or an iteration such as i12"`
	Name   string `json:"name,omitempty" jsonschema:"the same"`
	Verify bool   `json:"verify,omitempty" jsonschema:"also compare every byte with the digests"`
}

// SnapshotInfo is what is known of a snapshot.
type SnapshotInfo struct {
	ID          string   `json:"id"`
	Name        string   `json:"name" jsonschema:"the same"`
	Status      string   `json:"status" jsonschema:"in_progress, completed or failed"`
	Progress    int      `json:"progress" jsonschema:"0 to 100"`
	Error       string   `json:"error,omitempty"`
	Hint        string   `json:"hint,omitempty"`
	Size        int64    `json:"size_bytes"`
	Created     int64    `json:"created_at" jsonschema:"Unix milliseconds"`
	Duration    string   `json:"duration"`
	Start       int64    `json:"start_ts"`
	End         int64    `json:"end_ts"`
	Packets     uint64   `json:"packet_count" jsonschema:"in its files, which may reach beyond the window"`
	NodeCount   int      `json:"node_count"`
	Nodes       []string `json:"nodes,omitempty"`
	Source      string   `json:"source,omitempty" jsonschema:"tap, afpacket, agent or file"`
	Iteration   string   `json:"iteration,omitempty" jsonschema:"that it was sealed by"`
	Revision    string   `json:"revision,omitempty"`
	Exercise    string   `json:"exercise,omitempty"`
	Filter      string   `json:"filter,omitempty" jsonschema:"what capture_traffic was asked for"`
	Dissections []string `json:"dissections" jsonschema:"give one as db"`
	Verified    bool     `json:"verified,omitempty"`
	Note        string   `json:"note,omitempty"`
}

// Deleted says that something is gone.
type Deleted struct {
	Success bool   `json:"success"`
	Name    string `json:"name"`
}

// PacketSelection chooses packets of a snapshot.
type PacketSelection struct {
	Nodes     []string `json:"nodes,omitempty" jsonschema:"only what these nodes captured"`
	BPF       string   `json:"bpf_filter,omitempty" jsonschema:"capture filter, such as: host 10.0.0.7 and tcp port 443"`
	KFL       string   `json:"kfl,omitempty" jsonschema:"only packets of connections that this filter selects, or that carried a call that it selects"`
	StartTime int64    `json:"start_time,omitempty" jsonschema:"Unix milliseconds, included"`
	EndTime   int64    `json:"end_time,omitempty" jsonschema:"Unix milliseconds, not included"`
	Format    string   `json:"format,omitempty" jsonschema:"pcapng (default): with names and who captured what; pcap: IP packets alone"`
	Raw       bool     `json:"raw,omitempty" jsonschema:"secrets as they were sent; they are masked otherwise"`
	File      string   `json:"file,omitempty" jsonschema:"name of the file in the folder for exports; made up by default"`
	Overwrite bool     `json:"overwrite,omitempty" jsonschema:"replace a file of that name"`
}

// ExportPCAPRequest asks for a file with packets of a snapshot (export_snapshot_pcap).
type ExportPCAPRequest struct {
	ID string `json:"id" jsonschema:"of a snapshot, or an iteration"`
	PacketSelection
}

// ExportCaptureRequest asks for a file with packets of a window (export_pcap).
type ExportCaptureRequest struct {
	Handle string `json:"handle,omitempty" jsonschema:"from capture_traffic; what runs still ends with it"`
	Window string `json:"window,omitempty" jsonschema:"from window_open, or an iteration; the newest by default"`
	PacketSelection
}

// PCAPAnswer is a file with packets.
type PCAPAnswer struct {
	Path     string `json:"path" jsonschema:"relative: give it to get_file_url or download_file"`
	File     string `json:"file" jsonschema:"where it lies on the daemon's machine"`
	Snapshot string `json:"snapshot"`
	Format   string `json:"format"`
	Size     int64  `json:"size_bytes"`
	SHA256   string `json:"sha256"`
	Packets  uint64 `json:"packets" jsonschema:"in the file"`
	Of       uint64 `json:"of" jsonschema:"in the snapshot"`
	Masked   bool   `json:"masked" jsonschema:"secrets are masked"`
	Why      string `json:"why,omitempty" jsonschema:"why there are no packets in it"`
}

// StartDissectionRequest asks for a dissection of a snapshot (start_snapshot_dissection).
type StartDissectionRequest struct {
	Snapshot string `json:"snapshot_id" jsonschema:"from list_snapshots"`
	Name     string `json:"name,omitempty" jsonschema:"letters, digits, dashes and dots; made up by default"`
}

// DissectionRequest names a dissection of a snapshot (get_snapshot_dissection_status, stop_snapshot_dissection,
// delete_snapshot_dissection).
type DissectionRequest struct {
	ID       string `json:"dissection_id,omitempty" jsonschema:"SNAPSHOT/NAME; or snapshot_id and name"`
	Snapshot string `json:"snapshot_id,omitempty" jsonschema:"its newest dissection without a name"`
	Name     string `json:"name,omitempty"`
}

// DissectionsRequest asks for dissections of snapshots (list_snapshot_dissections).
type DissectionsRequest struct {
	Snapshot string `json:"snapshot_id,omitempty" jsonschema:"only of this one"`
	Limit    int    `json:"limit,omitempty" jsonschema:"1 to 1000; 100 by default"`
}

// DissectionsAnswer is dissections of snapshots, newest first.
type DissectionsAnswer struct {
	Dissections []DissectionJob `json:"dissections"`
	Total       int             `json:"total"`
	Truncated   bool            `json:"truncated"`
}

// DissectionJob is a dissection of a snapshot: one that waits or runs, one that is there, or one that came to nothing.
type DissectionJob struct {
	ID        string          `json:"dissection_id" jsonschema:"give it as db once it is completed"`
	Snapshot  string          `json:"snapshot_id"`
	Name      string          `json:"name"`
	Status    string          `json:"status" jsonschema:"pending, running, completed, failed or cancelled"`
	Active    bool            `json:"active" jsonschema:"it waits or runs"`
	Progress  int             `json:"progress" jsonschema:"0 to 100"`
	Stats     DissectionStats `json:"stats"`
	Errors    []string        `json:"errors,omitempty"`
	Started   int64           `json:"started_at,omitempty" jsonschema:"Unix milliseconds"`
	Completed int64           `json:"completed_at,omitempty"`
	Size      int64           `json:"size_bytes,omitempty"`
}

// DissectionStats counts what a dissection read and found.
type DissectionStats struct {
	Files     int               `json:"pcap_files"`
	Bytes     int64             `json:"pcap_bytes"`
	Packets   uint64            `json:"packets_processed"`
	Entries   uint64            `json:"entries_created" jsonschema:"calls"`
	Protocols map[string]uint64 `json:"protocol_counts,omitempty"`
}

// CaptureTrafficRequest opens a window over running traffic (capture_traffic).
type CaptureTrafficRequest struct {
	Filter   string `json:"filter,omitempty" jsonschema:"KFL that the export of this window is narrowed by; everything by default"`
	Duration string `json:"duration,omitempty" jsonschema:"such as 30s or 5m; 1m by default, 1h at most"`
	Name     string `json:"name,omitempty" jsonschema:"of its snapshot; made up by default"`
}

// CaptureTrafficAnswer is the handle of a window.
type CaptureTrafficAnswer struct {
	Handle string `json:"handle" jsonschema:"for export_pcap; once the window has ended it is a snapshot of that name"`
	Status string `json:"status"`
	Filter string `json:"filter,omitempty" jsonschema:"as it was read"`
	Start  int64  `json:"start_ts"`
	End    int64  `json:"end_ts" jsonschema:"when it ends by itself"`
	Next   string `json:"next"`
}
