package filter

import (
	"github.com/devloop-io/devloop/traffic"
)

// The adapters below turn a getter of a part of the row into a getter of the row that says false where the part is absent.

func ofCall[T any](get func(*traffic.Call) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Call == nil {
			return v, false
		}
		return get(r.Call), true
	}
}

// ofAnswer is for what only a seen response tells.
func ofAnswer[T any](get func(*traffic.Call) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Call == nil || !r.Call.Answered() {
			return v, false
		}
		return get(r.Call), true
	}
}

// ofWhole is for what only a whole exchange tells, such as how long it took.
func ofWhole[T any](get func(*traffic.Call) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Call == nil || r.Call.State != traffic.StateComplete {
			return v, false
		}
		return get(r.Call), true
	}
}

func ofHTTP[T any](get func(*traffic.HTTP) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isHTTP(r) {
			return v, false
		}
		return get(r.Call.HTTP), true
	}
}

func ofHTTPAnswer[T any](get func(*traffic.HTTP) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isHTTP(r) || !r.Call.Answered() {
			return v, false
		}
		return get(r.Call.HTTP), true
	}
}

func ofDNS[T any](get func(*traffic.Call, *traffic.DNS) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isDNS(r) {
			return v, false
		}
		return get(r.Call, r.Call.DNS), true
	}
}

func ofDNSAnswer[T any](get func(*traffic.Call, *traffic.DNS) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isDNS(r) || !r.Call.Answered() {
			return v, false
		}
		return get(r.Call, r.Call.DNS), true
	}
}

func ofTLS[T any](get func(*traffic.TLS) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isTLS(r) {
			return v, false
		}
		return get(r.Call.TLS), true
	}
}

func ofTLSAnswer[T any](get func(*traffic.TLS) (T, bool)) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isTLS(r) || !r.Call.Answered() {
			return v, false
		}
		return get(r.Call.TLS)
	}
}

// ofCertificate is for the server's own certificate, which TLS 1.3 hides.
func ofCertificate[T any](get func(*traffic.Certificate) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isTLS(r) || len(r.Call.TLS.Certificates) == 0 {
			return v, false
		}
		return get(&r.Call.TLS.Certificates[0]), true
	}
}

func ofRetry[T any](get func(*traffic.Retry) (T, bool)) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Call == nil || r.Call.Retry == nil {
			return v, false
		}
		return get(r.Call.Retry)
	}
}

func ofConn[T any](get func(*traffic.Connection) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Conn == nil {
			return v, false
		}
		return get(r.Conn), true
	}
}

// ofConnSome is for what some connections lack: get says so.
func ofConnSome[T any](get func(*traffic.Connection) (T, bool)) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Conn == nil {
			return v, false
		}
		return get(r.Conn)
	}
}

func ofTCP[T any](get func(*traffic.TCPMetrics) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if r.Conn == nil || r.Conn.TCP == nil {
			return v, false
		}
		return get(r.Conn.TCP), true
	}
}

// either is for what calls and connections both have.
func either[T any](call func(*traffic.Call) T, conn func(*traffic.Connection) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		switch {
		case r.Call != nil:
			return call(r.Call), true
		case r.Conn != nil:
			return conn(r.Conn), true
		}
		return v, false
	}
}

// onRow is for flags that say what the row itself is.
func onRow(is func(*Row) bool) func(*Row) (bool, bool) {
	return func(r *Row) (bool, bool) { return is(r), true }
}

func isHTTP(r *Row) bool { return r.Call != nil && r.Call.HTTP != nil }
func isDNS(r *Row) bool  { return r.Call != nil && r.Call.DNS != nil }
func isTLS(r *Row) bool  { return r.Call != nil && r.Call.TLS != nil }
func isRetried(r *Row) bool {
	return r.Call != nil && r.Call.Retry != nil
}
func isConn(r *Row) bool { return r.Call == nil && r.Conn != nil }

func overTCP(r *Row) bool { return isConn(r) && r.Conn.Proto == "tcp" }
func overUDP(r *Row) bool { return isConn(r) && r.Conn.Proto == "udp" }

func carries(protocol string) func(*Row) bool {
	return func(r *Row) bool { return r.Call != nil && r.Call.Protocol == protocol }
}
