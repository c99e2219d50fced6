package filter

import (
	"unicode/utf8"

	"github.com/devloop-io/devloop/traffic"
)

// maxRedisKey is how much of a key KFL shows.
const maxRedisKey = 64

func redisSection() section {
	return section{name: "Redis", rows: Calls, applies: isRedis, optional: true, fields: []Field{
		flag(Field{Name: "redis", Rows: Both, Doc: "a Redis command, or what a Redis server pushed", Example: `redis && redis_error != ""`},
			onRow(carries(traffic.ProtoRedis))),
		text(Field{Name: "redis_type", Request: true, Doc: "the command in upper case, by Kubeshark's name; of a push its kind",
			Example: `redis && redis_type == "GET" && redis_key.startsWith("p:")`}, ofRedis(func(c *traffic.Redis) string { return c.Command })),
		text(Field{Name: "redis_command", Request: true, JSON: "redis.command", Aliases: []string{"db.operation.name"}, Column: "redis_command",
			Doc: "the command in upper case; of a push its kind: MESSAGE, PMESSAGE, INVALIDATE, MONITOR", Example: `redis_command == "EVALSHA"`},
			ofRedis(func(c *traffic.Redis) string { return c.Command })),
		text(Field{Name: "redis_key", Request: true, JSON: "redis.key", Column: "redis_key", Doc: "first key of the command, or channel; its first 64 bytes",
			Example: `redis && redis_key == "cart:7"`}, ofRedis(redisKey)),
		texts(Field{Name: "redis_args", Request: true, JSON: "redis.args", Column: "redis_args", Doc: "what stands behind the command, as far as it was kept; secrets are redacted",
			Example: `redis_command == "SET" && "EX" in redis_args`}, ofRedis(func(c *traffic.Redis) []string { return c.Args })),
		number(Field{Name: "redis_database", Request: true, JSON: "redis.database", Column: "redis_database",
			Doc: "database that the connection had selected", Example: `redis && redis_database != 0`},
			ofRedis(func(c *traffic.Redis) int64 { return int64(c.Database) })),
		flag(Field{Name: "redis_pipelined", Request: true, JSON: "redis.pipelined", Column: "redis_pipelined", Doc: "sent while an earlier command still waited",
			Example: `redis && redis_pipelined`}, ofRedis(func(c *traffic.Redis) bool { return c.Pipelined })),
		flag(Field{Name: "redis_push", JSON: "redis.push", Column: "redis_push", Doc: "no command asked for it: a message of pub/sub, an invalidation, a line of MONITOR",
			Example: `redis && redis_push && redis_key == "orders"`}, ofRedis(func(c *traffic.Redis) bool { return c.Push })),
		text(Field{Name: "redis_reply_type", Response: true, JSON: "redis.reply_type", Column: "redis_reply_type",
			Doc:     "type of the reply: simple, error, integer, string, array, null, map, set, push, double, boolean, big_number, verbatim; none where the client asked for no reply",
			Example: `redis_command == "GET" && redis_reply_type == "null"`}, ofRedisReply(func(c *traffic.Redis) string { return c.Type })),
		text(Field{Name: "redis_reply", Response: true, JSON: "redis.reply", Column: "redis_reply",
			Doc: "the reply: a text as it is, lists and maps in the manner of JSON, as far as it was kept", Example: `redis_reply.contains("sold out")`},
			ofRedisReply(func(c *traffic.Redis) string { return c.Reply })),
		text(Field{Name: "redis_error", Response: true, JSON: "redis.error", Column: "redis_error",
			Doc: "error that the server answered: WRONGTYPE …; empty when there was none", Example: `redis && redis_error.startsWith("MOVED")`},
			ofRedisReply(func(c *traffic.Redis) string { return c.Error })),
		number(Field{Name: "redis_request_size", Request: true, Unit: "bytes", Doc: "command on the wire", Example: `redis && redis_request_size > 10000`},
			ofRedisCall(isRedis, func(c *traffic.Call) int64 { return c.RequestSize })),
		number(Field{Name: "redis_response_size", Response: true, Unit: "bytes", Doc: "reply on the wire", Example: `redis && redis_response_size > 100000`},
			ofRedisCall(isWholeRedis, func(c *traffic.Call) int64 { return c.ResponseSize })),
		number(Field{Name: "redis_total_size", Request: true, Response: true, Unit: "bytes", Doc: "command and reply on the wire", Example: `redis && redis_total_size > 100000`},
			ofRedisCall(isWholeRedis, func(c *traffic.Call) int64 { return c.RequestSize + c.ResponseSize })),
	}}
}

func isRedis(r *Row) bool { return r.Call != nil && r.Call.Redis != nil }

func ofRedis[T any](get func(*traffic.Redis) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isRedis(r) {
			return v, false
		}
		return get(r.Call.Redis), true
	}
}

// ofRedisReply is for what only a whole reply tells.
func ofRedisReply[T any](get func(*traffic.Redis) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isWholeRedis(r) {
			return v, false
		}
		return get(r.Call.Redis), true
	}
}

func isWholeRedis(r *Row) bool { return isRedis(r) && r.Call.State == traffic.StateComplete }

// ofRedisCall is for what calls of all protocols have, of those that a condition holds for.
func ofRedisCall(is func(*Row) bool, get func(*traffic.Call) int64) func(*Row) (int64, bool) {
	return func(r *Row) (int64, bool) {
		if !is(r) {
			return 0, false
		}
		return get(r.Call), true
	}
}

// redisKey cuts a key at the end of a character.
func redisKey(c *traffic.Redis) string {
	if len(c.Key) <= maxRedisKey {
		return c.Key
	}
	n := maxRedisKey
	for n > maxRedisKey-utf8.UTFMax && !utf8.RuneStart(c.Key[n]) {
		n--
	}
	return c.Key[:n]
}
