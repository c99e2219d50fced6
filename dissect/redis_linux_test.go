package dissect_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// redisCall is what the client knows of a call.
type redisCall struct {
	Command   string
	Args      []string
	Type      string // of the reply; empty when the client does not tell
	Error     string
	Reply     string
	ReplySize int64 // 0 when the client does not tell
	State     string
	Reason    string
	Database  int
	Pipelined bool
	Queued    bool
	Push      bool
	Key       string
}

const redisPassword = "sesame-street"

// redisLog notes what go-redis does, as its hook.
type redisLog struct {
	mu       sync.Mutex
	calls    []redisCall
	database int
}

func (l *redisLog) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *redisLog) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.note(cmd, err, 0, false)
		return err
	}
}

func (l *redisLog) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		multi := false
		for i, cmd := range cmds {
			if cmd.Name() == "exec" {
				multi = false
			}
			l.note(cmd, cmd.Err(), i, multi)
			multi = multi || cmd.Name() == "multi"
		}
		return err
	}
}

// note writes a command down as go-redis has it when it is done.
func (l *redisLog) note(cmd redis.Cmder, err error, place int, queued bool) {
	switch cmd.Name() {
	case "hello", "auth", "select", "client": // go-redis begins connections with them
		return
	}
	c := redisCall{Command: strings.ToUpper(cmd.Name()), State: "complete", Pipelined: place > 0, Queued: queued, Database: l.database}
	for _, a := range cmd.Args()[1:] {
		switch v := a.(type) {
		case []byte:
			c.Args = append(c.Args, string(v))
		default:
			c.Args = append(c.Args, fmt.Sprint(v))
		}
	}
	switch v := cmd.(type) {
	case *redis.StatusCmd:
		c.Type, c.Reply, c.ReplySize = "simple", v.Val(), int64(len(v.Val())+3)
	case *redis.StringCmd:
		n := len(v.Val())
		c.Type, c.Reply, c.ReplySize = "string", v.Val(), int64(1+len(strconv.Itoa(n))+2+n+2)
	case *redis.IntCmd:
		c.Type, c.Reply = "integer", strconv.FormatInt(v.Val(), 10)
		c.ReplySize = int64(len(c.Reply) + 3)
	}
	switch {
	case cmd.Name() == "multi": // go-redis leaves another reply in it
		c.Type, c.Reply, c.ReplySize = "simple", "OK", 5
	case queued:
		c.Type, c.Reply, c.ReplySize = "simple", "QUEUED", 9
	case errors.Is(err, redis.Nil):
		c.Type, c.Reply, c.ReplySize = "null", "", 0
	case err != nil:
		c.Type, c.Error, c.Reply, c.ReplySize = "error", err.Error(), err.Error(), int64(len(err.Error())+3)
	}
	l.mu.Lock()
	l.calls = append(l.calls, c)
	l.mu.Unlock()
}

// add writes down what the hook does not see.
func (l *redisLog) add(c redisCall) {
	if c.State == "" {
		c.State = "complete"
	}
	l.mu.Lock()
	l.calls = append(l.calls, c)
	l.mu.Unlock()
}

// withRedis runs a server of its own, then talk, and writes the log beside the capture.
func withRedis(file string, talk func(ctx context.Context, log *redisLog) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		dir, err := os.MkdirTemp("", "redis")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		server := exec.CommandContext(ctx, "redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", "", "--dir", dir, "--requirepass", redisPassword)
		out, err := server.StdoutPipe()
		if err != nil {
			return err
		}
		if err := server.Start(); err != nil {
			return err
		}
		defer func() {
			_ = server.Process.Kill()
			_ = server.Wait()
		}()
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.Contains(lines.Text(), "Ready to accept connections") {
		}
		go io.Copy(io.Discard, out)
		var log redisLog
		if err := talk(ctx, &log); err != nil {
			return err
		}
		return writeLog(file, log.calls)
	}
}

func redisClient(version, database int, log *redisLog) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Protocol: version, Password: redisPassword, DB: database, DisableIdentity: true, PoolSize: 1, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	if log != nil {
		c.AddHook(log)
	}
	return c
}

// everyRedis is a conversation with all that a client does: in RESP3, then in RESP2.
func everyRedis(file string) func() error {
	return withRedis(file, func(ctx context.Context, log *redisLog) error {
		for version := 3; version >= 2; version-- {
			if err := talkRedis(ctx, log, version); err != nil {
				return fmt.Errorf("RESP%d: %w", version, err)
			}
		}
		return talkRawRedis(log)
	})
}

func talkRedis(ctx context.Context, log *redisLog, version int) error {
	log.database = version
	c := redisClient(version, version, log)
	defer c.Close()
	other := redisClient(version, version, nil)
	defer other.Close()
	c.Set(ctx, "name", "Ann", 0)
	c.Get(ctx, "name")
	c.Get(ctx, "nobody")
	c.Set(ctx, "empty", "", time.Hour)
	c.Get(ctx, "empty")
	c.Set(ctx, "binary", "\x00\r\n\xff\"", 0)
	c.Get(ctx, "binary")
	c.Set(ctx, "large", strings.Repeat("0123456789", 250), 0)
	c.Get(ctx, "large")
	c.LPush(ctx, "name", "x")            // an error
	c.Do(ctx, "NOSUCHCOMMAND", "a", "b") //
	c.Eval(ctx, "return redis.call('INCR', KEYS[1])", []string{"count"})
	c.HSet(ctx, "user", "name", "Ann", "age", 7)
	c.HGetAll(ctx, "user")
	c.SAdd(ctx, "set", "a")
	c.SMembers(ctx, "set")
	c.ZAdd(ctx, "scores", redis.Z{Score: 1.5, Member: "a"})
	c.ZScore(ctx, "scores", "a")
	c.RPush(ctx, "list", "a", "b", "c")
	c.LRange(ctx, "list", 0, -1)
	c.BLPop(ctx, time.Second, "list")
	c.BLPop(ctx, 100*time.Millisecond, "nothing") // waits in vain
	c.XAdd(ctx, &redis.XAddArgs{Stream: "stream", ID: "1-1", Values: []string{"a", "b"}})
	c.XRead(ctx, &redis.XReadArgs{Streams: []string{"stream", "0"}, Block: -1})
	c.Ping(ctx)
	pipe := c.Pipeline()
	for i := range 5 {
		pipe.Incr(ctx, "n"+strconv.Itoa(i))
	}
	pipe.LPush(ctx, "name", "x")
	pipe.Get(ctx, "n4")
	_, _ = pipe.Exec(ctx)
	tx := c.TxPipeline()
	tx.Set(ctx, "t", "1", 0)
	tx.Incr(ctx, "t")
	tx.Get(ctx, "t")
	if _, err := tx.Exec(ctx); err != nil {
		return err
	}
	return subscribeRedis(ctx, log, c, version)
}

// subscribeRedis is pub/sub: what the client sends there its hook does not see.
func subscribeRedis(ctx context.Context, log *redisLog, c *redis.Client, version int) error {
	kind := map[int]string{2: "array", 3: "push"}[version]
	sub := c.Subscribe(ctx, "news", "sport")
	defer sub.Close()
	for range 2 {
		if _, err := sub.Receive(ctx); err != nil {
			return err
		}
	}
	db := log.database
	log.add(redisCall{Command: "SUBSCRIBE", Args: []string{"news", "sport"}, Key: "news", Type: kind, Database: db})
	c.Publish(ctx, "news", "hello")
	if _, err := sub.ReceiveMessage(ctx); err != nil {
		return err
	}
	log.add(redisCall{Command: "MESSAGE", Key: "news", Type: kind, Push: true, Reply: `["message", "news", "hello"]`, Database: db})
	if err := sub.PSubscribe(ctx, "w*"); err != nil {
		return err
	}
	if _, err := sub.Receive(ctx); err != nil {
		return err
	}
	log.add(redisCall{Command: "PSUBSCRIBE", Args: []string{"w*"}, Key: "w*", Type: kind, Database: db})
	c.Publish(ctx, "weather", "rain")
	if _, err := sub.ReceiveMessage(ctx); err != nil {
		return err
	}
	log.add(redisCall{Command: "PMESSAGE", Key: "weather", Type: kind, Push: true, Reply: `["pmessage", "w*", "weather", "rain"]`, Database: db})
	if err := sub.Unsubscribe(ctx, "news"); err != nil {
		return err
	}
	if _, err := sub.Receive(ctx); err != nil {
		return err
	}
	log.add(redisCall{Command: "UNSUBSCRIBE", Args: []string{"news"}, Key: "news", Type: kind, Database: db})
	return nil
}

// talkRawRedis does what go-redis never does.
func talkRawRedis(log *redisLog) error {
	var failed error
	say := func(conn net.Conn, text string, want int) {
		if _, err := io.WriteString(conn, text); err != nil {
			failed = errors.Join(failed, err)
		}
		if _, err := io.ReadFull(conn, make([]byte, want)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	dial := func() net.Conn {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:6379", 5*time.Second)
		failed = errors.Join(failed, err)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			say(conn, resp("AUTH", redisPassword), 5)
		}
		return conn
	}
	inline, watched := dial(), dial()
	if failed != nil {
		return failed
	}
	defer inline.Close()
	say(watched, resp("MONITOR"), 5)
	log.add(redisCall{Command: "MONITOR", Type: "simple", Reply: "OK"})
	say(inline, "set k \"two words\"\r\n", 5)
	log.add(redisCall{Command: "SET", Args: []string{"k", "two words"}, Key: "k", Type: "simple", Reply: "OK"})
	line, err := bufio.NewReader(watched).ReadString('\n')
	failed = errors.Join(failed, err)
	log.add(redisCall{Command: "MONITOR", Push: true, Type: "simple", Reply: strings.Trim(line, "+\r\n")})
	watched.Close()
	say(inline, resp("CLIENT", "REPLY", "SKIP")+resp("SET", "k", "v")+resp("ECHO", "done"), 10)
	log.add(redisCall{Command: "SET", Args: []string{"k", "v"}, Key: "k", Type: "none", Pipelined: false})
	log.add(redisCall{Command: "ECHO", Args: []string{"done"}, Type: "string", Reply: "done"})
	say(inline, resp("BLPOP", "nothing", "0"), 0)
	log.add(redisCall{Command: "BLPOP", Args: []string{"nothing", "0"}, Key: "nothing", State: "unanswered", Reason: "cancelled"})
	return failed
}

// manyRedis is 10,000 calls from several clients at once, singly and in pipelines.
func manyRedis(file string) func() error {
	return withRedis(file, func(ctx context.Context, log *redisLog) error {
		var all sync.WaitGroup
		var mu sync.Mutex
		for k := range 4 {
			all.Go(func() {
				own := &redisLog{}
				c := redisClient(2+k%2, 0, own)
				defer c.Close()
				rng := rand.New(rand.NewPCG(7, uint64(k)))
				for len(own.calls) < 2500 {
					key := "key:" + strconv.Itoa(rng.IntN(50))
					switch rng.IntN(8) {
					case 0:
						c.Set(ctx, key, strings.Repeat("x", rng.IntN(3000)), 0)
					case 1, 2:
						c.Get(ctx, key)
					case 3:
						c.Incr(ctx, "count:"+key)
					case 4:
						c.LPush(ctx, key, "v") // an error where a text stands
					case 5:
						c.HSet(ctx, "hash:"+key, "f", rng.IntN(100))
					case 6:
						c.HGetAll(ctx, "hash:"+key)
					default:
						p := c.Pipeline()
						for range rng.IntN(30) {
							p.Get(ctx, "key:"+strconv.Itoa(rng.IntN(50)))
							p.Incr(ctx, "n")
						}
						_, _ = p.Exec(ctx)
					}
				}
				mu.Lock()
				log.calls = append(log.calls, own.calls...)
				mu.Unlock()
			})
		}
		all.Wait()
		return nil
	})
}

// setup are commands that clients send by themselves on a new connection.
func setup(c *traffic.Call) bool {
	return c.Method == "HELLO" || c.Method == "AUTH" || c.Method == "SELECT" || c.Method == "CLIENT" && c.Redis.Args[0] == "REPLY"
}

func needsRedis(t testing.TB) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "redis-server")
}

// TestRedisReal compares every field with what the client did: on the committed capture, and on one made now.
func TestRedisReal(t *testing.T) {
	compareReal(t, "redis", needsRedis, compareRedis)
}

func compareRedis(t *testing.T, file string) {
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := readLog[redisCall](t, file)
	secret := redact.New([]byte("key"), redact.Options{})
	var got []*traffic.Call
	ups, downs := map[uint64]uint64{}, map[uint64]uint64{}
	auth := 0
	for _, c := range calls {
		if c.Protocol != traffic.ProtoRedis {
			t.Errorf("%s is %s", c.ID, c.Protocol)
			continue
		}
		ups[c.ConnID] += uint64(c.RequestSize)
		downs[c.ConnID] += uint64(c.ResponseSize)
		checkRedisTimes(t, c)
		if setup(c) {
			if c.State != traffic.StateComplete || c.Redis.Error != "" {
				t.Errorf("%s %q is %s, %s", c.Method, c.Redis.Args, c.State, c.Redis.Error)
			}
			secret.Call(c)
			if strings.Contains(strings.Join(c.Redis.Args, " "), redisPassword) {
				t.Errorf("%s keeps the password", c.Method)
			}
			for _, k := range c.Credentials {
				if k.Kind == "password" && k.Place == "request.argument" {
					auth++
				}
			}
			continue
		}
		got = append(got, c)
	}
	if auth < 4 {
		t.Errorf("%d passwords were found, want that of each connection", auth)
	}
	for _, c := range conns {
		if c.L7 != traffic.ProtoRedis || ups[c.ID] != c.ClientBytes || downs[c.ID] != c.ServerBytes || c.Undecoded != 0 {
			t.Errorf("connection %d: l7 %s, %d of %d bytes belong to commands, %d of %d to replies, %d are not decoded", c.ID, c.L7, ups[c.ID], c.ClientBytes,
				downs[c.ID], c.ServerBytes, c.Undecoded)
		}
	}
	// The log is in the order of ends; pub/sub and commands of two connections may be noted a little apart.
	var have []redisCall
	for _, c := range got {
		r := c.Redis
		if c.Method != r.Command || c.Path != r.Key || c.Status != 0 {
			t.Errorf("%s: method %q, path %q, status %d, but %+v", c.ID, c.Method, c.Path, c.Status, r)
		}
		if r.ArgsCut || r.ReplyCut {
			t.Errorf("%s is cut", c.ID)
		}
		x := redisCall{Command: r.Command, Args: r.Args, Type: r.Type, Error: r.Error, Reply: r.Reply, ReplySize: c.ResponseSize, State: string(c.State), Reason: c.Error,
			Database: r.Database, Pipelined: r.Pipelined, Queued: r.Queued, Push: r.Push, Key: r.Key}
		if want := int64(len(resp(append([]string{strings.ToLower(r.Command)}, r.Args...)...))); !r.Push && c.RequestSize != want && c.RequestSize != int64(len("set k \"two words\"\r\n")) {
			t.Errorf("%s %q: request size %d, want %d", r.Command, r.Args, c.RequestSize, want)
		}
		have = append(have, x)
	}
	if len(have) != len(want) {
		t.Errorf("%d calls, the client made %d", len(have), len(want))
	}
	loose := func(list []redisCall) map[string][]redisCall {
		m := map[string][]redisCall{}
		for _, c := range list {
			k := fmt.Sprint(c.Database, c.Command, c.Push)
			m[k] = append(m[k], c)
		}
		return m
	}
	mine, theirs := loose(have), loose(want)
	for k, list := range theirs {
		if len(mine[k]) != len(list) {
			t.Errorf("%s: %d calls, the client made %d", k, len(mine[k]), len(list))
			continue
		}
		for i, w := range list {
			g := mine[k][i]
			for i := range g.Args { // the log is JSON
				g.Args[i] = strings.ToValidUTF8(g.Args[i], "\uFFFD")
			}
			g.Reply = strings.ToValidUTF8(g.Reply, "\uFFFD")
			if w.Key == "" {
				w.Key = g.Key
			}
			if w.Type == "" {
				w.Type, w.Reply = g.Type, g.Reply
			}
			if w.Reply == "" {
				w.Reply = g.Reply
			}
			if w.ReplySize == 0 {
				w.ReplySize = g.ReplySize
			}
			if diff := cmp.Diff(w, g); diff != "" {
				t.Errorf("%s, call %d (-client +dissected):\n%s", k, i, diff)
			}
		}
	}
	for _, w := range []struct {
		db                        int
		command, key, kind, reply string
	}{
		{3, "HGETALL", "user", "map", `{"name": "Ann", "age": "7"}`}, {2, "HGETALL", "user", "array", `{"name": "Ann", "age": "7"}`},
		{3, "SMEMBERS", "set", "set", `["a"]`}, {2, "SMEMBERS", "set", "array", `["a"]`},
		{3, "ZSCORE", "scores", "double", `1.5`}, {2, "ZSCORE", "scores", "string", `1.5`},
		{3, "LRANGE", "list", "array", `["a", "b", "c"]`}, {3, "EXEC", "", "array", `["OK", 2, "2"]`}, {2, "EVAL", "count", "integer", `1`},
		{3, "XREAD", "stream", "map", `{"stream": [["1-1", ["a", "b"]]]}`},
	} {
		c := mine[fmt.Sprint(w.db, w.command, false)]
		if len(c) == 0 || c[0].Key != w.key || c[0].Type != w.kind || c[0].Reply != w.reply {
			t.Errorf("RESP%d %s: %+v, want %+v", w.db, w.command, c, w)
		}
	}
}

// checkRedisTimes wants times and packets in order, and a latency where something was waited for.
func checkRedisTimes(t *testing.T, c *traffic.Call) {
	t.Helper()
	r := c.Redis
	switch {
	case r.Push && (c.RequestPackets.First != 0 || c.ResponsePackets.First == 0 || c.Start != c.ResponseStart):
		t.Errorf("push %s: packets %v %v", c.ID, c.RequestPackets, c.ResponsePackets)
	case r.Push || c.State != traffic.StateComplete || r.Type == "none":
	case c.RequestPackets.First == 0 || c.ResponsePackets.First < c.RequestPackets.Last || c.Start > c.RequestEnd || c.ResponseStart < c.RequestEnd || c.End < c.ResponseStart:
		t.Errorf("%s %s: packets %v %v, times %d %d %d %d", c.ID, c.Method, c.RequestPackets, c.ResponsePackets, c.Start, c.RequestEnd, c.ResponseStart, c.End)
	case c.Method == "BLPOP" && c.Path == "nothing" && c.Latency() < int64(50*time.Millisecond):
		t.Errorf("BLPOP waited for %d ns", c.Latency())
	}
}

// TestRedisMany compares 10,000 calls with the client's log and with tshark's dissection.
func TestRedisMany(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "redis-server")
	file := filepath.Join(t.TempDir(), "many.pcapng")
	child(t, "redismany", file)
	calls, _, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := func(c redisCall) string {
		return fmt.Sprint(c.Command, " ", c.Args, " ", c.Error, " ", c.Pipelined, c.State, c.Push)
	}
	var want, got, commands []string
	for _, c := range readLog[redisCall](t, file) {
		want = append(want, line(c))
	}
	for _, c := range calls {
		commands = append(commands, c.Method+" "+strings.Join(c.Redis.Args[:min(1, len(c.Redis.Args))], ""))
		if !setup(c) {
			got = append(got, line(redisCall{Command: c.Method, Args: c.Redis.Args, Error: c.Redis.Error, Pipelined: c.Redis.Pipelined, State: string(c.State), Push: c.Redis.Push}))
		}
	}
	if len(want) < 10_000 {
		t.Errorf("the client made %d calls only", len(want))
	}
	sort.Strings(want)
	sort.Strings(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-client +dissected):\n%.3000s", diff)
	}
	agree(t, file, commands)
}

// TestRedisAgreement compares the commands of the committed capture with tshark's.
func TestRedisAgreement(t *testing.T) {
	file := filepath.Join("testdata", "redis", "input.pcapng")
	calls, _, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, c := range calls {
		if c.Redis.Push || c.RequestSize == int64(len("set k \"two words\"\r\n")) && c.Path == "k" {
			continue // tshark does not read inline commands
		}
		commands = append(commands, c.Method+" "+strings.Join(c.Redis.Args[:min(1, len(c.Redis.Args))], ""))
	}
	agree(t, file, commands)
}

// agree wants the commands, each with its first argument, to be those that tshark finds.
func agree(t *testing.T, file string, commands []string) {
	t.Helper()
	tshark := testenv.NeedsProgram(t, "tshark")
	out, err := exec.Command(tshark, "-n", "-r", file, "-Y", "resp && tcp.dstport == 6379", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,",
		"-e", "resp.array.length", "-e", "resp.bulk_string.length", "-e", "resp.bulk_string.value").Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []string
	for row := range strings.Lines(string(out)) {
		cells := strings.Split(strings.TrimRight(row, "\n"), "\t")
		values := strings.Split(cells[2], ",")
		var texts []string
		for size := range strings.SplitSeq(cells[1], ",") {
			if size == "0" { // has no value
				texts = append(texts, "")
				continue
			}
			texts = append(texts, unhex(values[0]))
			values = values[1:]
		}
		for l := range strings.SplitSeq(cells[0], ",") {
			n, _ := strconv.Atoi(l)
			if n == 0 || n > len(texts) {
				break // the whole command stands at the packet that ends it
			}
			name := strings.ToUpper(texts[0]) + " "
			if n > 1 {
				name += texts[1]
			}
			theirs = append(theirs, name)
			texts = texts[n:]
		}
	}
	c := comparison{what: "Redis commands, " + t.Name(), ours: len(theirs) - len(subtract(theirs, commands)), tshark: len(theirs), bar: 1}
	c.judge(t, "2-generated")
	sort.Strings(theirs)
	sort.Strings(commands)
	if diff := cmp.Diff(theirs, commands); diff != "" {
		t.Errorf("%d commands, tshark has %d (-tshark +ours):\n%.2000s", len(commands), len(theirs), diff)
	}
}

func unhex(s string) string {
	var b []byte
	for i := 0; i+1 < len(s); i += 2 {
		n, _ := strconv.ParseUint(s[i:i+2], 16, 8)
		b = append(b, byte(n))
	}
	return string(b)
}
