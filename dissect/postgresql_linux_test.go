package dissect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// pgCall is what the client knows of a call.
type pgCall struct {
	Command     string
	Query       string
	Parameters  int
	Rows        int64
	Success     bool
	SQLState    string
	Severity    string
	Transaction string
	Notices     int
	Path        string // where it is no fingerprint
	State       string
}

const pgPassword = "sesame-street"

// pgLog is what the client did, in its order.
type pgLog struct{ calls []pgCall }

// did notes a call that succeeded outside of a transaction.
func (l *pgLog) did(command, query string, parameters int, rows int64) *pgCall {
	l.calls = append(l.calls, pgCall{Command: command, Query: query, Parameters: parameters, Rows: rows, Success: true, Transaction: "I", State: "complete"})
	return &l.calls[len(l.calls)-1]
}

// failed notes a call that did not.
func (l *pgLog) failed(command, query string, parameters int, err error) *pgCall {
	c := l.did(command, query, parameters, 0)
	c.Success = false
	var e *pgconn.PgError
	if errors.As(err, &e) {
		c.SQLState, c.Severity = e.Code, e.Severity
	}
	return c
}

// pgPrograms is where Debian keeps PostgreSQL's server, off the PATH.
func pgPrograms() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// withPostgreSQL runs a server of its own, then talk, and writes the log beside the capture.
func withPostgreSQL(file string, talk func(ctx context.Context, log *pgLog) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		dir, err := os.MkdirTemp("", "pg")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		secret := filepath.Join(dir, "secret")
		if err := errors.Join(os.WriteFile(secret, []byte(pgPassword), 0o600), os.Chown(dir, uid, gid), os.Chown(secret, uid, gid)); err != nil {
			return err
		}
		program := func(name string, args ...string) *exec.Cmd {
			c := exec.CommandContext(ctx, filepath.Join(pgPrograms(), name), args...)
			c.Dir = dir
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Pdeathsig: syscall.SIGKILL}
			return c
		}
		data := filepath.Join(dir, "data")
		if out, err := program("initdb", "-D", data, "-U", "shop", "-A", "scram-sha-256", "--pwfile", secret, "-N", "-E", "UTF8", "--locale=C").CombinedOutput(); err != nil {
			return fmt.Errorf("initdb: %w: %s", err, out)
		}
		server := program("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
		var out bytes.Buffer
		server.Stderr = &out
		if err := server.Start(); err != nil {
			return err
		}
		defer func() {
			_ = server.Process.Signal(syscall.SIGINT)
			_ = server.Wait()
		}()
		// Its socket tells when it is ready: the capture sees the loopback only.
		for ctx.Err() == nil {
			c, err := pgx.Connect(ctx, "postgres://shop:"+pgPassword+"@/postgres?host="+dir)
			if err == nil {
				_ = c.Close(ctx)
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
		var log pgLog
		if err := talk(ctx, &log); err != nil {
			return fmt.Errorf("%w: %s", err, out.String())
		}
		return writeLog(file, log.calls)
	}
}

func pgConnect(ctx context.Context, log *pgLog, ssl string) (*pgx.Conn, error) {
	c, err := pgx.Connect(ctx, "postgres://shop:"+pgPassword+"@127.0.0.1:5432/postgres?sslmode="+ssl)
	if err == nil && log != nil {
		log.did("Startup", "", 0, 0).Path = "postgres"
	}
	return c, err
}

// everyPostgreSQL is a conversation with all that a client does.
func everyPostgreSQL(file string) func() error { return withPostgreSQL(file, talkPostgreSQL) }

func talkPostgreSQL(ctx context.Context, log *pgLog) error {
	c, err := pgConnect(ctx, log, "prefer")
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	simple := func(command, sql string, rows int64) *pgCall {
		if _, e := c.Exec(ctx, sql); e != nil {
			err = errors.Join(err, e)
		}
		return log.did(command, sql, 0, rows)
	}
	simple("CREATE", "CREATE TABLE items (id int PRIMARY KEY, name text, price numeric)", 0)
	simple("INSERT", "INSERT INTO items VALUES (1, 'a', 1.5), (2, 'it''s', 2)", 2)
	simple("SELECT", "SELECT 1; SELECT 2; UPDATE items SET price = 3", 4)
	simple("EMPTY", "-- ping", 0)
	simple("DO", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$", 0).Notices = 1
	simple("WITH", "WITH x AS (SELECT 1) SELECT * FROM x", 1).Command = "SELECT"
	if _, e := c.Exec(ctx, "SELECT * FROM nothing"); e != nil {
		log.failed("SELECT", "SELECT * FROM nothing", 0, e)
	}
	insert, find := "INSERT INTO items(id, name) VALUES ($1, $2)", "SELECT id, name FROM items WHERE id = ANY($1) ORDER BY id"
	log.did("Parse", insert, 0, 0)
	for i := 3; i < 6; i++ {
		if _, e := c.Exec(ctx, insert, i, "Ann"); e != nil {
			err = errors.Join(err, e)
		}
		log.did("INSERT", insert, 2, 1)
	}
	_, e := c.Exec(ctx, insert, 3, "again")
	log.failed("INSERT", insert, 2, e)
	log.did("Parse", find, 0, 0)
	for n := range 4 {
		rows, e := c.Query(ctx, find, []int{3, 4, 5}[:n])
		err = errors.Join(err, e)
		rows.Close()
		log.did("SELECT", find, 1, int64(n))
	}
	_, e = c.Exec(ctx, "SELEC $1", 1)
	log.failed("Parse", "SELEC $1", 0, e)
	// A transaction that fails, and is rolled back.
	simple("BEGIN", "begin", 0).Transaction = "T"
	log.did("Parse", insert, 0, 0).Transaction = "T" // pgx forgets a statement that failed
	if _, e := c.Exec(ctx, insert, 3, "again"); e != nil {
		log.failed("INSERT", insert, 2, e).Transaction = "E"
	}
	if _, e := c.Exec(ctx, "SELECT 1"); e != nil {
		log.failed("SELECT", "SELECT 1", 0, e).Transaction = "E"
	}
	simple("ROLLBACK", "rollback", 0)
	// Pipelines: all is well; then the second of three fails.
	del := "DELETE FROM items WHERE id = $1"
	b := &pgx.Batch{}
	b.Queue(insert, 10, "b")
	b.Queue(del, 10)
	b.Queue(find, []int{1, 2})
	err = errors.Join(err, c.SendBatch(ctx, b).Close())
	log.did("Parse", insert, 0, 0)
	log.did("Parse", del, 0, 0)
	log.did("INSERT", insert, 2, 1)
	log.did("DELETE", del, 1, 1)
	log.did("SELECT", find, 1, 2)
	b = &pgx.Batch{}
	b.Queue(insert, 11, "c")
	b.Queue(insert, 1, "d")
	b.Queue(del, 11)
	e = c.SendBatch(ctx, b).Close()
	log.did("INSERT", insert, 2, 1)
	log.failed("INSERT", insert, 2, e)
	log.failed("DELETE", del, 1, nil).Severity = "SKIPPED"
	// Unnamed, without a round trip for the statement.
	if _, e := c.Exec(ctx, insert, pgx.QueryExecModeExec, 20, "e"); e != nil {
		err = errors.Join(err, e)
	}
	log.did("INSERT", insert, 2, 1)
	err = errors.Join(err, copyPostgreSQL(ctx, c, log), listenPostgreSQL(ctx, c, log), cancelPostgreSQL(ctx, c, log))
	if _, e := pgx.Connect(ctx, "postgres://shop:wrong@127.0.0.1:5432/postgres?sslmode=disable"); e != nil {
		x := log.failed("Startup", "", 0, e)
		x.Path, x.Transaction = "postgres", ""
	}
	return err
}

func copyPostgreSQL(ctx context.Context, c *pgx.Conn, log *pgLog) error {
	var rows [][]any
	for i := range 50 {
		rows = append(rows, []any{100 + i, strings.Repeat("x", i)})
	}
	n, err := c.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	log.did("Parse", `select "id", "name" from "items"`, 0, 0)
	log.did("COPY", `copy "items" ( "id", "name" ) from stdin binary;`, 0, n)
	var out bytes.Buffer
	tag, e := c.PgConn().CopyTo(ctx, &out, "COPY items TO STDOUT")
	log.did("COPY", "COPY items TO STDOUT", 0, tag.RowsAffected())
	_, bad := c.PgConn().CopyFrom(ctx, strings.NewReader("1\tx\n"), "COPY items(id, name) FROM STDIN")
	log.failed("COPY", "COPY items(id, name) FROM STDIN", 0, bad)
	return errors.Join(err, e)
}

func listenPostgreSQL(ctx context.Context, c *pgx.Conn, log *pgLog) error {
	_, err := c.Exec(ctx, "LISTEN news")
	log.did("LISTEN", "LISTEN news", 0, 0)
	other, e := pgConnect(ctx, log, "disable")
	if e != nil {
		return e
	}
	defer other.Close(ctx)
	_, e = other.Exec(ctx, "NOTIFY news, 'hello'")
	log.did("NOTIFY", "NOTIFY news, 'hello'", 0, 0)
	_, bad := c.WaitForNotification(ctx)
	x := log.did("NotificationResponse", "", 0, 0)
	x.Path, x.Transaction = "news", ""
	return errors.Join(err, e, bad)
}

func cancelPostgreSQL(ctx context.Context, c *pgx.Conn, log *pgLog) error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "SELECT pg_sleep(20)")
		done <- err
	}()
	time.Sleep(200 * time.Millisecond) // in the child: a query that is cancelled must run
	err := c.PgConn().CancelRequest(ctx)
	log.failed("SELECT", "SELECT pg_sleep(20)", 0, <-done)
	log.did("CancelRequest", "", 0, 0).Transaction = ""
	return err
}

// manyPostgreSQL is 10,000 calls from several clients at once, singly and in pipelines.
func manyPostgreSQL(file string) func() error {
	return withPostgreSQL(file, func(ctx context.Context, log *pgLog) error {
		c, err := pgConnect(ctx, nil, "disable")
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		if _, err := c.Exec(ctx, "CREATE TABLE t (id int PRIMARY KEY, v text)"); err != nil {
			return err
		}
		log.did("CREATE", "CREATE TABLE t (id int PRIMARY KEY, v text)", 0, 0)
		var all sync.WaitGroup
		var mu sync.Mutex
		var failed error
		for k := range 4 {
			all.Go(func() {
				own := &pgLog{}
				e := talkMuch(ctx, own, k)
				mu.Lock()
				log.calls, failed = append(log.calls, own.calls...), errors.Join(failed, e)
				mu.Unlock()
			})
		}
		all.Wait()
		return failed
	})
}

func talkMuch(ctx context.Context, log *pgLog, k int) error {
	c, err := pgConnect(ctx, nil, "disable")
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	rng := rand.New(rand.NewPCG(7, uint64(k)))
	insert, find, series := "INSERT INTO t VALUES ($1, $2)", "SELECT v FROM t WHERE id = $1", "SELECT repeat('x', 300) FROM generate_series(1, $1)"
	note := func(command, sql string, parameters int, rows int64, err error) {
		if err != nil {
			log.failed(command, sql, parameters, err)
			return
		}
		log.did(command, sql, parameters, rows)
	}
	for len(log.calls) < 2600 {
		switch id := rng.IntN(400)*4 + k; rng.IntN(6) {
		case 0:
			tag, err := c.Exec(ctx, insert, id, strings.Repeat("v", rng.IntN(3000)))
			note("INSERT", insert, 2, tag.RowsAffected(), err)
		case 1:
			n := rng.IntN(100)
			rows, err := c.Query(ctx, series, n)
			if err == nil {
				rows.Close()
				err = rows.Err()
			}
			note("SELECT", series, 1, int64(n), err)
		case 2:
			sql := fmt.Sprintf("UPDATE t SET v = '%d' WHERE id = %d", rng.IntN(9), id)
			tag, err := c.Exec(ctx, sql)
			note("UPDATE", sql, 0, tag.RowsAffected(), err)
		case 3:
			sql := fmt.Sprintf("SELECT %d / %d", id, rng.IntN(2))
			tag, err := c.Exec(ctx, sql)
			note("SELECT", sql, 0, tag.RowsAffected(), err)
		case 4:
			tag, err := c.Exec(ctx, "DELETE FROM t WHERE id = $1", pgx.QueryExecModeExec, id)
			note("DELETE", "DELETE FROM t WHERE id = $1", 1, tag.RowsAffected(), err)
		default:
			b := &pgx.Batch{}
			for range 1 + rng.IntN(20) {
				b.Queue(find, id)
			}
			results := c.SendBatch(ctx, b)
			for range b.Len() {
				tag, err := results.Exec()
				note("SELECT", find, 1, tag.RowsAffected(), err)
			}
			_ = results.Close()
		}
	}
	return nil
}

func needsPostgreSQL(t testing.TB) {
	testenv.NeedsRoot(t)
	t.Setenv("PATH", os.Getenv("PATH")+":"+pgPrograms())
	testenv.NeedsProgram(t, "postgres")
}

// TestPostgreSQLReal compares every field with what the client did: on the committed capture, and on one made now.
func TestPostgreSQLReal(t *testing.T) {
	compareReal(t, "postgresql", needsPostgreSQL, comparePostgreSQL)
}

func comparePostgreSQL(t *testing.T, file string) {
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sort.SliceStable(calls, func(i, j int) bool { return calls[i].Start < calls[j].Start })
	var got []pgCall
	for _, c := range calls {
		p := c.PostgreSQL
		if p == nil {
			t.Errorf("%s is %s", c.ID, c.Protocol)
			continue
		}
		x := pgCall{Command: p.Command, Query: p.Query, Parameters: p.Parameters, Rows: p.Rows, Success: p.Success, SQLState: p.SQLState,
			Severity: p.Severity, Transaction: p.Transaction, Notices: p.Notices, State: string(c.State)}
		if c.Path != p.Fingerprint {
			x.Path = c.Path
		}
		got = append(got, x)
		checkPGCall(t, c)
	}
	if diff := cmp.Diff(readLog[pgCall](t, file), got); diff != "" {
		t.Errorf("calls (-client +dissected):\n%s", diff)
	}
	for _, c := range conns {
		if c.L7 != traffic.ProtoPostgreSQL || c.Undecoded != 0 || c.Missing != 0 || c.Encrypted != 0 {
			t.Errorf("connection %d: l7 %s, %d bytes undecoded", c.ID, c.L7, c.Undecoded)
		}
	}
	checkpointsOf(t, file)
}

// checkPGCall looks at what the client does not tell.
func checkPGCall(t *testing.T, c *traffic.Call) {
	t.Helper()
	p := c.PostgreSQL
	if c.Method != p.Command || c.Status != 0 || p.Unknown || p.QueryCut {
		t.Errorf("%s: method %q status %d %+v", c.ID, c.Method, c.Status, p)
	}
	switch p.Command {
	case "CancelRequest":
		return
	case "NotificationResponse":
		if p.Message != "hello" || c.ResponsePackets.First == 0 {
			t.Errorf("%s: %+v", c.ID, p)
		}
		return
	case "Startup":
		if p.Authentication != "scram" {
			t.Errorf("authentication is %q", p.Authentication)
		}
	}
	if p.User != "shop" || p.Database != "postgres" || c.RequestSize == 0 || c.ResponseSize == 0 {
		t.Errorf("%s: user %q, database %q, sizes %d %d", c.ID, p.User, p.Database, c.RequestSize, c.ResponseSize)
	}
	if (p.SQLState != "") != (p.Message != "" && p.Severity != "SKIPPED") {
		t.Errorf("%s: SQLSTATE %q, message %q", c.ID, p.SQLState, p.Message)
	}
	if c.RequestPackets.First == 0 || c.ResponsePackets.First < c.RequestPackets.First || c.RequestEnd < c.Start || c.End < c.ResponseStart ||
		c.ResponseStart < c.Start {
		t.Errorf("%s %s: packets %v %v, times %d %d %d %d", c.ID, c.Method, c.RequestPackets, c.ResponsePackets, c.Start, c.RequestEnd, c.ResponseStart, c.End)
	}
	if strings.Contains(p.Query, "pg_sleep") && c.Latency() < int64(100*time.Millisecond) {
		t.Errorf("pg_sleep took %d ns", c.Latency())
	}
	if b, _ := json.Marshal(c); bytes.Contains(b, []byte(pgPassword)) {
		t.Errorf("%s keeps the password", c.ID)
	}
}

// checkpointsOf splits a capture at every seventh packet.
func checkpointsOf(t *testing.T, file string) {
	packets, ifaces := readPackets(file, 5000)
	for at := 0; at < len(packets) && !t.Failed(); at += 7 {
		split(t, packets, ifaces, at)
	}
}

// TestPostgreSQLMany compares 10,000 calls with the client's log and with tshark's dissection.
func TestPostgreSQLMany(t *testing.T) {
	needsPostgreSQL(t)
	file := filepath.Join(t.TempDir(), "many.pcapng")
	child(t, "postgresqlmany", file)
	calls, _, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := func(c pgCall) string {
		return fmt.Sprint(c.Command, "|", c.Query, "|", c.Parameters, " ", c.Rows, " ", c.Success, " ", c.SQLState, " ", c.State)
	}
	var want, got, queries []string
	for _, c := range readLog[pgCall](t, file) {
		want = append(want, line(c))
	}
	for _, c := range calls {
		p := c.PostgreSQL
		if p.Command == "Parse" || p.Parameters == 0 && p.Query != "" || p.Command == "DELETE" { // the wire has their text
			queries = append(queries, p.Query)
		}
		if p.Command != "Parse" && p.Command != "Startup" {
			got = append(got, line(pgCall{Command: p.Command, Query: p.Query, Parameters: p.Parameters, Rows: p.Rows, Success: p.Success, SQLState: p.SQLState, State: string(c.State)}))
		}
	}
	if len(want) < 10_000 {
		t.Errorf("the client made %d calls only", len(want))
	}
	sort.Strings(want)
	sort.Strings(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-client +dissected):\n%.4000s", diff)
	}
	tshark := testenv.NeedsProgram(t, "tshark")
	out, err := exec.Command(tshark, "-r", file, "-Y", "pgsql.query", "-T", "fields", "-e", "pgsql.query", "-E", "aggregator=;").Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []string
	for line := range strings.Lines(string(out)) {
		theirs = append(theirs, strings.Split(strings.TrimSuffix(line, "\n"), ";")...)
	}
	t.Logf("%d calls, %d texts on the wire, tshark has %d", len(got), len(queries), len(theirs))
	c := comparison{what: "PostgreSQL queries, 10,000 calls", ours: len(theirs) - len(subtract(theirs, queries)), tshark: len(theirs), bar: 1}
	c.judge(t, "2-generated")
	if missing := subtract(theirs, queries); len(missing) > 0 {
		t.Errorf("tshark finds %d that are lacking here: %.500q", len(missing), missing)
	}
	if more := subtract(queries, theirs); len(more) > 0 {
		t.Errorf("tshark does not find %d: %.500q", len(more), more)
	}
}
