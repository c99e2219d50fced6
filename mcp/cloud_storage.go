package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
)

// Object storage is not there yet. The tools that Kubeshark has for it answer with that, so that an agent which was written
// for them goes on with what there is.

const noCloud = "devloop keeps snapshots on this machine only: it has no object storage yet"

// CloudStatus answers get_cloud_storage_status.
type CloudStatus struct {
	Enabled   bool   `json:"enabled"`
	Provider  string `json:"provider"`
	Connected bool   `json:"connected"`
	Why       string `json:"why"`
}

// CloudInput names a snapshot.
type CloudInput struct {
	ID string `json:"id" jsonschema:"of a snapshot"`
}

// CloudJobInput names a transfer.
type CloudJobInput struct {
	Job string `json:"job_id"`
}

// CloudJob answers the transfers.
type CloudJob struct {
	Success bool   `json:"success"`
	Job     string `json:"job_id"`
}

func getCloudStorageStatus(s *mcp.Server, t *tools) {
	addOwn(s, t, looks, "get_cloud_storage_status", "Is there object storage", "Whether snapshots can be kept in object storage. They cannot yet.",
		func(context.Context, struct{}) (CloudStatus, error) { return CloudStatus{Why: noCloud}, nil })
}

func uploadSnapshotToCloud(s *mcp.Server, t *tools) {
	addOwn(s, t, creates, "upload_snapshot_to_cloud", "Upload a snapshot", "Not there yet: snapshots stay on this machine. export_snapshot_pcap and download_file make a file to pass on.",
		func(context.Context, CloudInput) (CloudJob, error) {
			return CloudJob{}, &control.Error{What: noCloud, Hint: "export_snapshot_pcap and download_file make a file to pass on"}
		})
}

func downloadSnapshotFromCloud(s *mcp.Server, t *tools) {
	addOwn(s, t, creates, "download_snapshot_from_cloud", "Download a snapshot", "Not there yet: snapshots stay on this machine. list_snapshots names those that there are.",
		func(context.Context, CloudInput) (CloudJob, error) {
			return CloudJob{}, &control.Error{What: noCloud, Hint: "list_snapshots names those that there are"}
		})
}

func getCloudJobStatus(s *mcp.Server, t *tools) {
	addOwn(s, t, looks, "get_cloud_job_status", "Get a transfer", "Not there yet: there are no transfers to object storage.",
		func(_ context.Context, in CloudJobInput) (CloudJob, error) {
			return CloudJob{}, &control.Error{What: "there is no transfer " + quote(in.Job) + ": " + noCloud, Hint: "get_cloud_storage_status"}
		})
}
