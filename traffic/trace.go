package traffic

// TraceNode is a call within the tree of calls that one call caused.
type TraceNode struct {
	Call       string       `json:"call"` // ID
	Src        string       `json:"src"`  // name of the client, or its address
	Service    string       `json:"service"`
	Protocol   string       `json:"proto"`
	Method     string       `json:"method"`
	Path       string       `json:"path"`            // of a query its fingerprint
	Route      string       `json:"route,omitempty"` // HTTP: the path with {id} for what varies
	Status     int          `json:"status"`
	State      State        `json:"state"`
	Error      string       `json:"error,omitempty"`
	Failed     bool         `json:"failed,omitempty"` // no answer, or one that says failure; get_call_tree tells it
	Start      float64      `json:"start_ms"`         // since the root's start
	Latency    float64      `json:"latency_ms"`
	Self       float64      `json:"self_ms"`                     // latency less the time that children took
	Attempt    int          `json:"attempt,omitempty"`           // of a request that was made more than once
	Depth      int          `json:"depth"`                       // below the root
	ParentBy   string       `json:"parent_by,omitempty"`         // trace or nesting
	Candidates int          `json:"parent_candidates,omitempty"` // calls that could be the parent: with more than one it is a guess
	Critical   bool         `json:"critical"`                    // the root would have taken less time without its share
	Asked      bool         `json:"asked,omitempty"`             // the call that the tree was asked for
	Children   []*TraceNode `json:"children,omitempty"`          // in the order in which they began
}
