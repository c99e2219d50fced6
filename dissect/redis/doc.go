// Package redis reads Redis calls: RESP2, RESP3 and inline commands, pipelines, transactions, pub/sub and MONITOR.
//
// A reply belongs to the oldest command that waits. What the server sends by itself – messages of pub/sub, invalidations,
// lines of MONITOR – becomes a call of its own that is complete, has no request and is marked Push: StateHalf would say
// that a request was missed. SUBSCRIBE and its like are complete once every channel is confirmed.
//
// After a hole in the server's stream nobody can tell which of the waiting commands the next reply answers: they are given
// up as open, and replies count as not decoded until the client asks again.
//
// The protocol is described at https://redis.io/docs/latest/develop/reference/protocol-spec/.
package redis
