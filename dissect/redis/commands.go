package redis

import (
	"strconv"
	"strings"
	"sync"
)

// commandTable is name:arity:position of the first key, as `COMMAND` of Redis 7.0 tells it, and what later versions and
// Sentinel added. A negative arity is a minimum; both count the command's name.
const commandTable = `
	ACL:-2:0 APPEND:3:1 ASKING:1:0 AUTH:-2:0 BGREWRITEAOF:1:0 BGSAVE:-1:0 BITCOUNT:-2:1 BITFIELD:-2:1 BITFIELD_RO:-2:1 BITOP:-4:2 BITPOS:-3:1
	BLMOVE:6:1 BLMPOP:-5:0 BLPOP:-3:1 BRPOP:-3:1 BRPOPLPUSH:4:1 BZMPOP:-5:0 BZPOPMAX:-3:1 BZPOPMIN:-3:1 CLIENT:-2:0 CLUSTER:-2:0 COMMAND:-1:0
	CONFIG:-2:0 COPY:-3:1 DBSIZE:1:0 DEBUG:-2:0 DECR:2:1 DECRBY:3:1 DEL:-2:1 DISCARD:1:0 DUMP:2:1 ECHO:2:0 EVAL:-3:0 EVALSHA:-3:0
	EVALSHA_RO:-3:0 EVAL_RO:-3:0 EXEC:1:0 EXISTS:-2:1 EXPIRE:-3:1 EXPIREAT:-3:1 EXPIRETIME:2:1 FAILOVER:-1:0 FCALL:-3:0 FCALL_RO:-3:0
	FLUSHALL:-1:0 FLUSHDB:-1:0 FUNCTION:-2:0 GEOADD:-5:1 GEODIST:-4:1 GEOHASH:-2:1 GEOPOS:-2:1 GEORADIUS:-6:1 GEORADIUSBYMEMBER:-5:1
	GEORADIUSBYMEMBER_RO:-5:1 GEORADIUS_RO:-6:1 GEOSEARCH:-7:1 GEOSEARCHSTORE:-8:1 GET:2:1 GETBIT:3:1 GETDEL:2:1 GETEX:-2:1 GETRANGE:4:1
	GETSET:3:1 HDEL:-3:1 HELLO:-1:0 HEXISTS:3:1 HGET:3:1 HGETALL:2:1 HINCRBY:4:1 HINCRBYFLOAT:4:1 HKEYS:2:1 HLEN:2:1 HMGET:-3:1 HMSET:-4:1
	HRANDFIELD:-2:1 HSCAN:-3:1 HSET:-4:1 HSETNX:4:1 HSTRLEN:3:1 HVALS:2:1 INCR:2:1 INCRBY:3:1 INCRBYFLOAT:3:1 INFO:-1:0 KEYS:2:0 LASTSAVE:1:0
	LATENCY:-2:0 LCS:-3:1 LINDEX:3:1 LINSERT:5:1 LLEN:2:1 LMOVE:5:1 LMPOP:-4:0 LOLWUT:-1:0 LPOP:-2:1 LPOS:-3:1 LPUSH:-3:1 LPUSHX:-3:1
	LRANGE:4:1 LREM:4:1 LSET:4:1 LTRIM:4:1 MEMORY:-2:0 MGET:-2:1 MIGRATE:-6:3 MODULE:-2:0 MONITOR:1:0 MOVE:3:1 MSET:-3:1 MSETNX:-3:1 MULTI:1:0
	OBJECT:-2:0 PERSIST:2:1 PEXPIRE:-3:1 PEXPIREAT:-3:1 PEXPIRETIME:2:1 PFADD:-2:1 PFCOUNT:-2:1 PFDEBUG:3:2 PFMERGE:-2:1 PFSELFTEST:1:0
	PING:-1:0 PSETEX:4:1 PSUBSCRIBE:-2:0 PSYNC:-3:0 PTTL:2:1 PUBLISH:3:0 PUBSUB:-2:0 PUNSUBSCRIBE:-1:0 QUIT:-1:0 RANDOMKEY:1:0 READONLY:1:0
	READWRITE:1:0 RENAME:3:1 RENAMENX:3:1 REPLCONF:-1:0 REPLICAOF:3:0 RESET:1:0 RESTORE:-4:1 RESTORE-ASKING:-4:1 ROLE:1:0 RPOP:-2:1
	RPOPLPUSH:3:1 RPUSH:-3:1 RPUSHX:-3:1 SADD:-3:1 SAVE:1:0 SCAN:-2:0 SCARD:2:1 SCRIPT:-2:0 SDIFF:-2:1 SDIFFSTORE:-3:1 SELECT:2:0 SET:-3:1
	SETBIT:4:1 SETEX:4:1 SETNX:3:1 SETRANGE:4:1 SHUTDOWN:-1:0 SINTER:-2:1 SINTERCARD:-3:0 SINTERSTORE:-3:1 SISMEMBER:3:1 SLAVEOF:3:0
	SLOWLOG:-2:0 SMEMBERS:2:1 SMISMEMBER:-3:1 SMOVE:4:1 SORT:-2:1 SORT_RO:-2:1 SPOP:-2:1 SPUBLISH:3:1 SRANDMEMBER:-2:1 SREM:-3:1 SSCAN:-3:1
	SSUBSCRIBE:-2:1 STRLEN:2:1 SUBSCRIBE:-2:0 SUBSTR:4:1 SUNION:-2:1 SUNIONSTORE:-3:1 SUNSUBSCRIBE:-1:1 SWAPDB:3:0 SYNC:1:0 TIME:1:0 TOUCH:-2:1
	TTL:2:1 TYPE:2:1 UNLINK:-2:1 UNSUBSCRIBE:-1:0 UNWATCH:1:0 WAIT:3:0 WATCH:-2:1 XACK:-4:1 XADD:-5:1 XAUTOCLAIM:-6:1 XCLAIM:-6:1 XDEL:-3:1
	XGROUP:-2:0 XINFO:-2:0 XLEN:2:1 XPENDING:-3:1 XRANGE:-4:1 XREAD:-4:0 XREADGROUP:-7:0 XREVRANGE:-4:1 XSETID:-3:1 XTRIM:-4:1 ZADD:-4:1
	ZCARD:2:1 ZCOUNT:4:1 ZDIFF:-3:0 ZDIFFSTORE:-4:1 ZINCRBY:4:1 ZINTER:-3:0 ZINTERCARD:-3:0 ZINTERSTORE:-4:1 ZLEXCOUNT:4:1 ZMPOP:-4:0
	ZMSCORE:-3:1 ZPOPMAX:-2:1 ZPOPMIN:-2:1 ZRANDMEMBER:-2:1 ZRANGE:-4:1 ZRANGEBYLEX:-4:1 ZRANGEBYSCORE:-4:1 ZRANGESTORE:-5:1 ZRANK:3:1
	ZREM:-3:1 ZREMRANGEBYLEX:4:1 ZREMRANGEBYRANK:4:1 ZREMRANGEBYSCORE:4:1 ZREVRANGE:-4:1 ZREVRANGEBYLEX:-4:1 ZREVRANGEBYSCORE:-4:1 ZREVRANK:3:1
	ZSCAN:-3:1 ZSCORE:3:1 ZUNION:-3:0 ZUNIONSTORE:-4:1
	SENTINEL:-2:0 HEXPIRE:-6:1 HPEXPIRE:-6:1 HEXPIREAT:-6:1 HPEXPIREAT:-6:1 HTTL:-5:1 HPTTL:-5:1 HPERSIST:-5:1 HEXPIRETIME:-5:1 HPEXPIRETIME:-5:1
	HGETDEL:-5:1 HGETEX:-5:1 HSETEX:-6:1 XDELEX:-5:1 XACKDEL:-6:1 DELIFEQ:3:1 DELEX:-2:1 DIGEST:2:1 MSETEX:-4:2 VADD:-5:1 VSIM:-4:1 VREM:3:1
	VCARD:2:1 VDIM:2:1 VEMB:-3:1 VINFO:2:1 VLINKS:-3:1 VGETATTR:3:1 VSETATTR:4:1 VRANDMEMBER:-2:1`

type command struct{ arity, key int }

// takes reports whether a command may have so many words, its name included.
func (c command) takes(words int) bool {
	return c.arity > 0 && words == c.arity || c.arity < 0 && words >= -c.arity
}

var commands = sync.OnceValue(func() map[string]command {
	all := map[string]command{}
	for _, row := range strings.Fields(commandTable) {
		cells := strings.Split(row, ":")
		arity, _ := strconv.Atoi(cells[1])
		key, _ := strconv.Atoi(cells[2])
		all[cells[0]] = command{arity, key}
	}
	return all
})

// lookup finds a command by its name in any case.
func lookup(name []byte) (command, bool) {
	if len(name) == 0 || len(name) > maxName {
		return command{}, false
	}
	var buf [maxName]byte
	c, ok := commands()[string(upper(buf[:0], name))]
	return c, ok
}

// upper appends name in upper case.
func upper(to, name []byte) []byte {
	for _, c := range name {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

// keyAt says which argument, from 0, is the first key or channel of a command; -1 for none. Args may be incomplete.
func keyAt(name string, args []string) int {
	at := func(i int) int {
		if i < len(args) {
			return i
		}
		return -1
	}
	counted := func(i int) int { // the number of keys stands at i
		if i < len(args) && args[i] != "0" {
			return at(i + 1)
		}
		return -1
	}
	switch name {
	case "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO", "BLMPOP", "BZMPOP":
		return counted(1)
	case "LMPOP", "ZMPOP", "SINTERCARD", "ZINTERCARD", "ZUNION", "ZINTER", "ZDIFF":
		return counted(0)
	case "XREAD", "XREADGROUP":
		for i, a := range args {
			if strings.EqualFold(a, "STREAMS") {
				return at(i + 1)
			}
		}
		return -1
	case "OBJECT", "XINFO", "XGROUP":
		return at(1)
	case "MEMORY", "DEBUG":
		if len(args) > 1 && (strings.EqualFold(args[0], "USAGE") || strings.EqualFold(args[0], "OBJECT")) {
			return 1
		}
		return -1
	case "MIGRATE":
		return at(2)
	case "PUBLISH", "SPUBLISH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "KEYS":
		return at(0)
	}
	if c, ok := commands()[name]; ok {
		return at(c.key - 1)
	}
	return at(0)
}

// isSubscription recognises the commands that are answered once for each channel.
func isSubscription(name string) bool {
	switch name {
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		return true
	}
	return false
}
