package control

// What can be done with faults between services.
var (
	FaultSet   = Method[FaultRequest, Fault]{"fault_set"}
	FaultList  = Method[struct{}, FaultsAnswer]{"fault_list"}
	FaultClear = Method[FaultClearRequest, FaultsAnswer]{"fault_clear"}
)

// FaultRequest says what shall happen between two services that know nothing of it.
type FaultRequest struct {
	From    string  `json:"from" jsonschema:"the service that asks; exercise is what drives the services"`
	To      string  `json:"to" jsonschema:"the service that is asked, with :PORT (a number or a name) where it has several"`
	Kind    string  `json:"kind" jsonschema:"latency, status (of HTTP/1 requests), refuse, reset, stall, truncate or drop"`
	Rate    float64 `json:"rate,omitempty" jsonschema:"share of the requests that meet it; of the connections with refuse, of the packets with drop; 1 by default"`
	Seconds float64 `json:"seconds,omitempty" jsonschema:"it ends by itself after that; 60 by default, at most 3600"`
	DelayMS float64 `json:"delay_ms,omitempty" jsonschema:"of latency; 200 by default, at most 30000"`
	Status  int     `json:"status,omitempty" jsonschema:"of status; 503 by default"`
	Seed    uint64  `json:"seed,omitempty" jsonschema:"which requests meet it; refuse and drop leave that to the kernel"`
}

// Fault is one fault, with what it met so far.
type Fault struct {
	ID      string  `json:"id"`
	From    string  `json:"from"`
	To      string  `json:"to"`
	Port    int     `json:"port"`
	Kind    string  `json:"kind"`
	What    string  `json:"what" jsonschema:"in words"`
	Rate    float64 `json:"rate"`
	BeganNS int64   `json:"began_ns"`
	UntilNS int64   `json:"until_ns" jsonschema:"when it ends by itself"`
	EndedNS int64   `json:"ended_ns,omitempty" jsonschema:"when it ended; absent while it is there"`
	Seen    int     `json:"seen" jsonschema:"requests on its way; not counted for refuse and drop"`
	Hit     int     `json:"hit" jsonschema:"those that met it"`
	Note    string  `json:"note,omitempty"`
}

// FaultClearRequest names a fault.
type FaultClearRequest struct {
	ID  string `json:"id,omitempty" jsonschema:"of the fault, such as f1"`
	All bool   `json:"all,omitempty" jsonschema:"all faults"`
}

// FaultsAnswer lists faults.
type FaultsAnswer struct {
	Faults []Fault `json:"faults"`
}
