package control

import "github.com/devloop-io/devloop/query"

// What can be concluded from traffic.
var (
	GetCallTree       = Method[query.TreeRequest, query.TreeAnswer]{"get_call_tree"}
	CompareTraffic    = Method[query.CompareRequest, query.Comparison]{"compare_traffic"}
	ListEvents        = Method[query.EventsRequest, query.EventsAnswer]{"list_events"}
	GetDependents     = Method[query.DependentsRequest, query.DependentsAnswer]{"get_dependents"}
	ListEgress        = Method[query.EgressRequest, query.EgressAnswer]{"list_egress"}
	Correlate         = Method[query.CorrelateRequest, query.Correlation]{"correlate"}
	FindSensitiveData = Method[query.SensitiveRequest, query.SensitiveAnswer]{"find_sensitive_data"}
	FindErrors        = Method[query.ErrorsRequest, query.ErrorsAnswer]{"find_errors"}
	ListRetries       = Method[query.RetriesRequest, query.RetriesAnswer]{"list_retries"}
	ListConnections   = Method[query.ConnectionsRequest, query.ConnectionsAnswer]{"list_connections"}
	ExportCalls       = Method[query.ExportRequest, query.ExportAnswer]{"export_calls"}
	ExportPolicy      = Method[query.PolicyRequest, query.PolicyAnswer]{"export_policy"}
)
