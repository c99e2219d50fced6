package control

import "github.com/devloop-io/devloop/query"

// What can be asked of traffic.
var (
	ListAPICalls   = Method[query.CallsRequest, query.CallsAnswer]{"list_api_calls"}
	GetAPICall     = Method[query.CallRequest, query.CallAnswer]{"get_api_call_details"}
	GetAPIStats    = Method[query.StatsRequest, query.StatsAnswer]{"get_api_stats"}
	ListL4Flows    = Method[query.FlowsRequest, query.FlowsAnswer]{"list_l4_flows"}
	GetFlowSummary = Method[query.FlowSummaryRequest, query.FlowSummary]{"get_l4_flow_summary"}
	GetServiceMap  = Method[query.MapRequest, query.ServiceMap]{"get_service_map"}
	GetService     = Method[query.ServiceRequest, query.ServiceDetails]{"get_service_details"}
	ListWorkloads  = Method[query.WorkloadsRequest, query.WorkloadsAnswer]{"list_workloads"}
	ListIPs        = Method[query.IPsRequest, query.IPsAnswer]{"list_ips"}
	ApplyFilter    = Method[query.FilterRequest, query.FilterAnswer]{"apply_filter"}
)
