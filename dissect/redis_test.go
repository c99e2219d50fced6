package dissect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/traffic"
)

// resp is a command as clients send it.
func resp(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// redisScenarios are captures made by hand, as scenarios.
var redisScenarios = map[string]func(m *maker){
	"redis_types": func(m *maker) { // one reply of each type
		m.open()
		ask := func(reply string, words ...string) { m.send(0, resp(words...), 1400); m.send(1, reply, 1400) }
		ask("+PONG\r\n", "ping")
		ask("%3\r\n+server\r\n$5\r\nredis\r\n+proto\r\n:3\r\n+modules\r\n*0\r\n", "HELLO", "3", "SETNAME", "x")
		ask("$5\r\nhe\"lo\r\n", "GET", "a")
		ask("_\r\n", "GET", "b")
		ask("$-1\r\n", "GET", "b")
		ask("*-1\r\n", "BLPOP", "q", "1")
		ask(":-42\r\n", "DECR", "n")
		ask(",1.5e3\r\n", "ZSCORE", "z", "m")
		ask("#t\r\n", "EVAL", "return true", "1", "k")
		ask("(3492890328409238509324850943850943825024385\r\n", "EVAL", "x", "0")
		ask("=15\r\ntxt:Some string\r\n", "INFO")
		ask("~3\r\n+a\r\n$1\r\nb\r\n:3\r\n", "SMEMBERS", "s")
		ask("*2\r\n*2\r\n$1\r\n\"\r\n$-1\r\n%1\r\n#f\r\n-ERR in it\r\n", "EVAL", "x", "0")
		ask("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "LPUSH", "a", "x")
		ask("!21\r\nSYNTAX invalid syntax\r\n", "SET", "a")
		ask("|1\r\n+ttl\r\n:3600\r\n*2\r\n|1\r\n+x\r\n,0.1\r\n:1\r\n:2\r\n", "LRANGE", "l", "0", "-1")
		ask("$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;2\r\nld\r\n;0\r\n", "GET", "c")
		ask("*?\r\n:1\r\n:2\r\n.\r\n", "LRANGE", "l", "0", "-1")
		ask("%?\r\n+a\r\n:1\r\n.\r\n", "HGETALL", "h")
		ask("*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n", "HGETALL", "h")
		ask("*0\r\n", "KEYS", "*")
		m.close(0)
	},
	"redis_snaplen": func(m *maker) { // 100 bytes of each packet: arguments and replies are there as far as those go
		m.open()
		ask := func(reply string, words ...string) { m.send(0, resp(words...), 1400); m.send(1, reply, 1400) }
		ask("+OK\r\n", "AUTH", "alexander", "a password of 40 bytes, which is enough")
		ask("*3\r\n$5\r\nfirst\r\n$6\r\nsecond\r\n$30\r\n"+strings.Repeat("third ", 5)+"\r\n", "LRANGE", "list", "0", "-1")
		ask("$90\r\n"+strings.Repeat("x", 90)+"\r\n", "GET", "x")
		ask(":7\r\n", "INCR", "n")
		m.close(0)
		for i := range m.packets {
			m.packets[i].Data = m.packets[i].Data[:min(100, len(m.packets[i].Data))]
		}
	},
	"redis_pipelined": func(m *maker) {
		m.open()
		m.send(0, resp("SELECT", "3")+resp("SET", "a", "1")+resp("SELECT", "99")+resp("INCR", "a")+resp("GET", "a"), 9)
		m.send(1, "+OK\r\n+OK\r\n-ERR DB index is out of range\r\n:2\r\n$1\r\n2\r\n", 7)
		m.close(0)
	},
	"redis_transaction": func(m *maker) {
		m.open()
		m.send(0, resp("MULTI")+resp("SET", "a", "1")+resp("LPOP", "a")+resp("EXEC"), 1400)
		m.send(1, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n-WRONGTYPE Operation\r\n", 1400)
		m.send(0, resp("MULTI"), 1400)
		m.send(1, "+OK\r\n", 1400)
		m.send(0, resp("NOPE"), 1400)
		m.send(1, "-ERR unknown command 'NOPE', with args beginning with: \r\n", 1400)
		m.send(0, resp("EXEC"), 1400)
		m.send(1, "-EXECABORT Transaction discarded because of previous errors.\r\n", 1400)
		m.close(0)
	},
	"redis_inline": func(m *maker) {
		m.open()
		m.send(0, "PING\r\n", 1400)
		m.send(1, "+PONG\r\n", 1400)
		m.send(0, "\r\nset k \"two words\" 'x'\n", 5)
		m.send(1, "-ERR syntax error\r\n", 1400)
		m.close(0)
	},
	"redis_pubsub": func(m *maker) {
		m.open()
		m.send(0, resp("SUBSCRIBE", "a", "b"), 1400)
		m.send(1, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n", 20)
		m.send(1, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n", 1400)
		m.send(0, resp("PSUBSCRIBE", "c*"), 1400)
		m.send(1, "*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$2\r\nhi\r\n*3\r\n$10\r\npsubscribe\r\n$2\r\nc*\r\n:3\r\n", 1400)
		m.send(1, "*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nc1\r\n$3\r\nyou\r\n", 1400)
		m.send(0, resp("PING"), 1400)
		m.send(1, "*2\r\n$4\r\npong\r\n$0\r\n\r\n", 1400)
		m.send(0, resp("UNSUBSCRIBE"), 1400)
		m.send(1, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n", 1400)
		m.send(0, resp("PUNSUBSCRIBE"), 1400)
		m.send(1, "*3\r\n$12\r\npunsubscribe\r\n$2\r\nc*\r\n:0\r\n", 1400)
		m.send(0, resp("LRANGE", "l", "0", "2"), 1400)
		m.send(1, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n", 1400)
		m.close(0)
	},
	"redis_push": func(m *maker) { // RESP3: pushes among replies
		m.open()
		m.send(0, resp("HELLO", "3"), 1400)
		m.send(1, "%1\r\n+proto\r\n:3\r\n", 1400)
		m.send(0, resp("SUBSCRIBE", "a")+resp("GET", "k"), 1400)
		m.send(1, ">3\r\n+subscribe\r\n$1\r\na\r\n:1\r\n>3\r\n+message\r\n$1\r\na\r\n$1\r\nx\r\n$1\r\nv\r\n", 1400)
		m.send(1, ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", 1400)
		m.send(0, resp("LRANGE", "l", "0", "2"), 1400)
		m.send(1, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n", 1400)
		m.close(1)
	},
	"redis_monitor": func(m *maker) {
		m.open()
		m.send(0, resp("MONITOR"), 1400)
		m.send(1, "+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n", 1400)
		m.send(0, resp("QUIT"), 1400)
		m.send(1, "+1339518084.107412 [0 127.0.0.1:60866] \"get\" \"k\"\r\n+OK\r\n", 1400)
		m.close(1)
	},
	"redis_no_reply": func(m *maker) {
		m.open()
		m.send(0, resp("CLIENT", "REPLY", "OFF")+resp("SET", "a", "1")+resp("CLIENT", "REPLY", "ON")+resp("CLIENT", "REPLY", "SKIP")+resp("SET", "a", "2")+resp("GET", "a"), 1400)
		m.send(1, "+OK\r\n$1\r\n2\r\n", 1400)
		m.close(0)
	},
	"redis_blocked":   func(m *maker) { m.open(); m.send(0, resp("BLPOP", "q", "0"), 1400); m.flag(1, 0x14) },
	"redis_cancelled": func(m *maker) { m.open(); m.send(0, resp("BLPOP", "q", "0"), 1400); m.flag(0, 0x14) },
	"redis_closed":    func(m *maker) { m.open(); m.send(0, resp("SHUTDOWN", "NOSAVE"), 1400); m.close(1) },
	"redis_waiting":   func(m *maker) { m.open(); m.send(0, resp("BLPOP", "q", "0"), 1400) },
	"redis_truncated": func(m *maker) {
		m.open()
		m.send(0, resp("GET", "a")+resp("GET", "b"), 1400)
		m.send(1, "$10\r\nhello", 1400)
		m.close(1)
	},
	"redis_joined_late": func(m *maker) {
		m.send(1, "lo\r\n", 1400)
		m.send(1, "$5\r\nhello\r\n", 1400)
		m.send(0, resp("GET", "b"), 1400)
		m.send(1, "$1\r\nx\r\n", 1400)
		m.close(0)
	},
	"redis_joined_pubsub": func(m *maker) {
		m.send(1, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n", 1400)
		m.send(1, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nagain\r\n", 3)
		m.close(0)
	},
	"redis_gap_in_text": func(m *maker) {
		m.open()
		m.send(0, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3000\r\n"+strings.Repeat("x", 1000), 1400)
		m.lose(0, 1000)
		m.send(0, strings.Repeat("z", 1000)+"\r\n", 1400)
		m.send(1, "+OK\r\n", 1400)
		m.send(0, resp("GET", "a"), 1400)
		m.send(1, "$3000\r\n"+strings.Repeat("x", 1000), 1400)
		m.lose(1, 1000)
		m.send(1, strings.Repeat("z", 1000)+"\r\n", 1400)
		m.send(0, resp("PING"), 1400)
		m.send(1, "+PONG\r\n", 1400)
		m.close(0)
	},
	"redis_gap_in_replies": func(m *maker) {
		m.open()
		m.send(0, resp("GET", "a")+resp("GET", "b")+resp("GET", "c"), 1400)
		m.send(1, "$1\r\n1\r\n", 1400)
		m.lose(1, 7)
		m.send(1, "$1\r\n3\r\n", 1400)
		m.send(0, resp("GET", "d"), 1400)
		m.send(1, "$1\r\n4\r\n", 1400)
		m.close(0)
	},
	"redis_gap_is_request": func(m *maker) {
		m.open()
		m.send(0, resp("PING"), 1400)
		m.send(1, "+PONG\r\n", 1400)
		m.lose(0, len(resp("GET", "a")))
		m.send(1, "$1\r\n1\r\n", 1400)
		m.send(0, resp("GET", "b"), 1400)
		m.send(1, "$1\r\n2\r\n", 1400)
		m.close(0)
	},
	"redis_gap_in_request": func(m *maker) {
		m.open()
		m.send(0, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$", 1400)
		m.lose(0, 8)
		m.send(1, "+OK\r\n", 1400)
		m.send(0, resp("GET", "a"), 1400)
		m.send(1, "$3\r\nabc\r\n", 1400)
		m.close(0)
	},
	"redis_garbage": func(m *maker) {
		m.open()
		m.send(0, resp("PING"), 1400)
		m.send(1, "+PONG\r\n", 1400)
		m.send(0, "*2\r\n$3\r\nGET\r\n:5\r\n"+resp("GET", "b"), 1400)
		m.send(1, "-ERR Protocol error: expected '$', got ':'\r\n", 1400)
		m.close(1)
	},
	"redis_two_points": func(m *maker) {
		m.points = []int{0, 1}
		m.open()
		m.send(0, resp("SET", "a", "hello")+resp("GET", "a"), 10)
		m.send(1, "+OK\r\n$5\r\nhello\r\n", 6)
		m.send(0, resp("SUBSCRIBE", "c"), 1400)
		m.send(1, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", 1400)
		m.close(0)
	},
}

// TestRedisScenarios dissects them as TestScenarios does, and splits each at every packet.
func TestRedisScenarios(t *testing.T) {
	for name, play := range redisScenarios {
		t.Run(name, func(t *testing.T) {
			m := newMaker()
			play(m)
			compareWholeAndSplit(t, name, m.numbered())
		})
	}
}

// TestRedisLimits checks what is kept of long arguments and replies, and of more commands than can wait.
func TestRedisLimits(t *testing.T) {
	t.Parallel()
	const many = 20_000
	m := newMaker().open()
	long := strings.Repeat("v", 300_000)
	m.send(0, resp("SET", "k", long), 1400)
	m.send(1, "+OK\r\n", 1400)
	m.send(0, resp("GET", "k"), 1400)
	m.send(1, fmt.Sprintf("$%d\r\n%s\r\n", len(long), long), 1400)
	m.send(0, strings.Repeat(resp("INCR", "n"), many), 1400)
	var replies strings.Builder
	for i := range many {
		fmt.Fprintf(&replies, ":%d\r\n", i)
	}
	m.send(1, replies.String(), 1400)
	m.send(0, resp("PING"), 1400)
	m.send(1, "+PONG\r\n", 1400)
	m.close(0)
	var got rows
	feed(dissect.New(got.into()), m.packets, nil)
	states := map[traffic.State]int{}
	for _, c := range got.Calls {
		states[c.State]++
		if n := len(c.Redis.Reply); n > 64<<10 {
			t.Errorf("%s keeps %d bytes of the reply", c.Method, n)
		}
	}
	if diff := cmp.Diff(map[traffic.State]int{traffic.StateComplete: 16<<10 + 3, traffic.StateOpen: many - 16<<10}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	set, value, last := got.Calls[0], got.Calls[1], got.Calls[len(got.Calls)-1]
	if n := len(set.Redis.Args[1]); !set.Redis.ArgsCut || n < 64<<10-10 || n > 64<<10 || set.RequestSize != int64(len(resp("SET", "k", long))) {
		t.Errorf("SET keeps %d bytes, cut %v, size %d", n, set.Redis.ArgsCut, set.RequestSize)
	}
	if !value.Redis.ReplyCut || len(value.Redis.Reply) != 64<<10 || value.ResponseSize != 300_000+11 {
		t.Errorf("GET keeps %d bytes, cut %v, size %d", len(value.Redis.Reply), value.Redis.ReplyCut, value.ResponseSize)
	}
	if last.Method != "PING" || last.State != traffic.StateComplete || last.Redis.Reply != "PONG" {
		t.Errorf("last is %s %s %q", last.Method, last.State, last.Redis.Reply)
	}
}

// FuzzRedis sends the input as the two sides of one connection.
func FuzzRedis(f *testing.F) {
	f.Add([]byte(resp("HELLO", "3")+resp("HGETALL", "h")), []byte("%1\r\n+a\r\n:1\r\n*2\r\n|1\r\n+x\r\n,0.1\r\n$-1\r\n~0\r\n"), uint8(3))
	f.Add([]byte(resp("SUBSCRIBE", "a")+resp("UNSUBSCRIBE")), []byte("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n+message\r\n$1\r\na\r\n$1\r\nx\r\n"), uint8(200))
	f.Add([]byte("PING\r\nset a \"b\r\n*-1\r\n*0\r\n"), []byte("+OK\r\n$?\r\n;4\r\nHell\r\n;0\r\n*?\r\n.\r\n=5\r\ntxt:a\r\n!3\r\nERR\r\n"), uint8(9))
	f.Add([]byte(resp("MONITOR")+resp("PSYNC", "?", "-1")), []byte("+OK\r\n+1.1 [0 l] \"a\"\r\n+FULLRESYNC a 0\r\n$4\r\nREDI"), uint8(20))
	f.Add([]byte(strings.Repeat("*1\r\n", 200)), []byte(strings.Repeat("*1\r\n", 200)), uint8(20))
	f.Fuzz(func(t *testing.T, client, server []byte, size uint8) {
		if len(client)+len(server) > 8000 {
			return
		}
		for _, buffered := range []int{0, 64} {
			m := newMaker().open()
			m.send(0, resp("PING"), 1400)
			m.send(0, string(client), int(size)+1)
			m.send(1, string(server), int(size)+1)
			m.lose(1, int(size))
			m.send(1, string(server), int(size)+1)
			m.close(0)
			d := dissect.New(dissect.Options{BodyLimit: 16, MaxBuffered: buffered, OnCall: func(*traffic.Call) {}})
			feed(d, m.packets[:len(m.packets)/2], nil)
			if _, err := d.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			feed(d, m.packets[len(m.packets)/2:], nil)
		}
	})
}
