package filter_test

import (
	"fmt"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

func ExampleCompile() {
	f, err := filter.Compile(`http and response.status >= 500`)
	if err != nil {
		fmt.Println(err)
		return
	}
	row := filter.Row{Call: &traffic.Call{Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Status: 503}}
	ok, err := f.Match(&row)
	fmt.Println(f.Rewritten(), ok, err)
	// Output: http && status_code >= 500 true <nil>
}

func ExampleError() {
	_, err := filter.Compile(`http && dst.service.nmae == "payment"`)
	fmt.Println(err)
	// Output:
	// 1:9: dst.service.nmae is not a field
	//   http && dst.service.nmae == "payment"
	//           ^
	// hint: did you mean dst.service.name (string)? service of the server: the name that its peers use
}

func ExampleExplain() {
	x, err := filter.Explain(`src.svc == "cart" and response.latency > 100`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(x)
	// Output:
	// reads as   src.service.name == "cart" && latency_ms > 100
	//            src.svc → src.service.name
	//            and → &&
	//            response.latency → latency_ms (latency_ms is in ms)
	// selects    calls (http, dns, tls, redis, postgresql, ws)
	// columns    latency_ns, src_svc, state
	//
	// &&  : bool
	// ├─ ==  : bool
	// │  ├─ src.service.name  : string
	// │  └─ "cart"  : string
	// └─ >  : bool
	//    ├─ latency_ms  : double
	//    └─ 100  : int
	//
	// latency_ms             double             latency in milliseconds
	// src.service.name       string             service of the client: the name that its peers use
}
