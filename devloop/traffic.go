package devloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// ListAPICalls returns a page of calls.
func (s *Session) ListAPICalls(ctx context.Context, r query.CallsRequest) (*query.CallsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListAPICalls)
}

// GetAPICall returns one call with its connection, flow and packets.
func (s *Session) GetAPICall(ctx context.Context, r query.CallRequest) (*query.CallAnswer, error) {
	return conclude(ctx, s, r.Scope, r, func(ctx context.Context, db *query.Database, r query.CallRequest) (*query.CallAnswer, error) {
		return query.GetAPICall(ctx, db, r, s.packetsOf(db))
	})
}

// GetAPIStats returns statistics of calls.
func (s *Session) GetAPIStats(ctx context.Context, r query.StatsRequest) (*query.StatsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.GetAPIStats)
}

// ListL4Flows returns a page of flows.
func (s *Session) ListL4Flows(ctx context.Context, r query.FlowsRequest) (*query.FlowsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListL4Flows)
}

// GetFlowSummary returns all flows in short.
func (s *Session) GetFlowSummary(ctx context.Context, r query.FlowSummaryRequest) (*query.FlowSummary, error) {
	return conclude(ctx, s, r.Scope, r, query.GetFlowSummary)
}

// GetServiceMap returns who calls whom.
func (s *Session) GetServiceMap(ctx context.Context, r query.MapRequest) (*query.ServiceMap, error) {
	return conclude(ctx, s, r.Scope, r, query.GetServiceMap)
}

// GetService returns all of one service.
func (s *Session) GetService(ctx context.Context, r query.ServiceRequest) (*query.ServiceDetails, error) {
	return conclude(ctx, s, r.Scope, r, query.GetService)
}

// ListWorkloads returns who there was.
func (s *Session) ListWorkloads(ctx context.Context, r query.WorkloadsRequest) (*query.WorkloadsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListWorkloads)
}

// ListIPs returns whose addresses they were.
func (s *Session) ListIPs(ctx context.Context, r query.IPsRequest) (*query.IPsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListIPs)
}

// ApplyFilter names a filter for later questions.
func (s *Session) ApplyFilter(_ context.Context, r query.FilterRequest) (*query.FilterAnswer, error) {
	a, err := s.filters.ApplyFilter(r)
	return a, mistaken(err)
}

// maxPackets bounds the packets in an answer: a capture file beyond it is for export_snapshot_pcap.
const maxPackets = 8 << 20

var errTooLarge = errors.New("too large")

// capped is a buffer with an end.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > maxPackets {
		return 0, errTooLarge
	}
	return c.Buffer.Write(p)
}

// packetsOf exports packets of a database's snapshot; nil where it has none.
func (s *Session) packetsOf(db *query.Database) query.Packets {
	snapshot, _, _ := strings.Cut(db.Name, "/")
	if db.CallsPath == "" || snapshot == query.Live {
		return nil
	}
	return func(ctx context.Context, connections []*traffic.Connection) ([]byte, error) {
		sn, err := s.snapshot(snapshot)
		if err != nil {
			return nil, err
		}
		var o store.ExportOptions
		for _, c := range connections {
			o.Select = append(o.Select, store.SelectConnection(c))
		}
		var b capped
		_, err = sn.Export(ctx, &b, o)
		if shut := sn.Close(); err == nil {
			err = shut
		}
		if errors.Is(err, errTooLarge) {
			return nil, control.Usagef("export_snapshot_pcap writes them to a file", fmt.Sprintf("the packets of this connection are more than %d MB", maxPackets>>20))
		}
		return b.Bytes(), err
	}
}
