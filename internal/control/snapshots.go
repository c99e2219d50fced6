package control

import "github.com/devloop-io/devloop/query"

// What can be done with recorded packets.
var (
	ListDatabases       = Method[query.DatabasesRequest, query.DatabasesAnswer]{"list_databases"}
	GetDataBoundaries   = Method[query.BoundariesRequest, query.Boundaries]{"get_data_boundaries"}
	GetRawCapture       = Method[query.RawCaptureRequest, query.RawCapture]{"get_raw_capture"}
	GetL7DataBoundaries = Method[query.BoundariesRequest, query.L7Boundaries]{"get_l7_data_boundaries"}
	GetDissectionStatus = Method[query.DissectionStatusRequest, query.DissectionStatus]{"get_dissection_status"}
	EnableDissection    = Method[query.DissectionStatusRequest, query.DissectionStatus]{"enable_dissection"}
	DisableDissection   = Method[query.DissectionStatusRequest, query.DissectionStatus]{"disable_dissection"}
	CreateSnapshot      = Method[query.CreateSnapshotRequest, query.SnapshotCreated]{"create_snapshot"}
	ListSnapshots       = Method[query.SnapshotsRequest, query.SnapshotsAnswer]{"list_snapshots"}
	GetSnapshot         = Method[query.SnapshotRequest, query.SnapshotInfo]{"get_snapshot"}
	DeleteSnapshot      = Method[query.SnapshotRequest, query.Deleted]{"delete_snapshot"}
	ExportSnapshotPCAP  = Method[query.ExportPCAPRequest, query.PCAPAnswer]{"export_snapshot_pcap"}
	StartDissection     = Method[query.StartDissectionRequest, query.DissectionJob]{"start_snapshot_dissection"}
	GetDissectionJob    = Method[query.DissectionRequest, query.DissectionJob]{"get_snapshot_dissection_status"}
	ListDissections     = Method[query.DissectionsRequest, query.DissectionsAnswer]{"list_snapshot_dissections"}
	StopDissection      = Method[query.DissectionRequest, query.DissectionJob]{"stop_snapshot_dissection"}
	DeleteDissection    = Method[query.DissectionRequest, query.Deleted]{"delete_snapshot_dissection"}
	CaptureTraffic      = Method[query.CaptureTrafficRequest, query.CaptureTrafficAnswer]{"capture_traffic"}
	ExportPCAP          = Method[query.ExportCaptureRequest, query.PCAPAnswer]{"export_pcap"}
)
