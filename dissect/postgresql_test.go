package dissect_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// pg is a message of PostgreSQL's protocol.
func pg(kind byte, parts ...any) string {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string: // with its end
			b = append(append(b, p...), 0)
		case int: // 16 bits
			b = binary.BigEndian.AppendUint16(b, uint16(p))
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case []byte:
			b = append(b, p...)
		}
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)+4))
	if kind != 0 {
		head = append([]byte{kind}, head...)
	}
	return string(head) + string(b)
}

var (
	pgStart  = pg(0, int32(196608), "user", "shop", "database", "stock", []byte{0})
	pgHello  = pg('R', int32(10), "SCRAM-SHA-256", []byte{0}) + pg('R', int32(0)) + pg('S', "server_version", "15") + pg('K', int32(1), int32(2)) + pgIdle
	pgIdle   = pg('Z', []byte("I"))
	pgSync   = pg('S')
	pgFields = pg('T', 1, "id", int32(0), 1, int32(23), 4, int32(-1), 0)
	pgRow    = pg('D', 1, int32(1), []byte("7"))
	pgFail   = pg('E', []byte("S"), "ERROR", []byte("V"), "ERROR", []byte("C"), "23505", []byte("M"), "duplicate key", []byte{0})
	pgFatal  = pg('E', []byte("S"), "FATAL", []byte("V"), "FATAL", []byte("C"), "28P01", []byte("M"), "password authentication failed", []byte{0})
	pgSelect = "SELECT id FROM items WHERE id = $1"
	pgBind   = pg('B', "", "s1", 0, 1, int32(1), []byte("7"), 0)
	pgRun    = pg('E', "", int32(0))
)

func pgOpen(m *maker) {
	m.open()
	m.send(0, pgStart, 1400)
	m.send(1, pgHello, 1400)
}

func pgQuery(sql string) string { return pg('Q', sql) }

// postgresqlScenarios say what is sent, and each call that comes out as
// "state method path | query | rows success sqlstate transaction | sizes".
var postgresqlScenarios = map[string]struct {
	make func(m *maker)
	want []string
}{
	"simple": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("SELECT 1 FROM t WHERE a='x'"), 1400)
		m.send(1, pgFields+pgRow+pgRow+pg('C', "SELECT 2")+pgIdle, 9)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete SELECT SELECT ? FROM t WHERE a = ?|SELECT 1 FROM t WHERE a='x'| 2 true  I"}},
	"several statements": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("INSERT INTO t VALUES (1); SELECT 1; SELECT 1/0"), 10)
		m.send(1, pg('C', "INSERT 0 3")+pgFields+pgRow+pg('C', "SELECT 1")+pgFail+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete INSERT INSERT INTO t VALUES (?); SELECT ?; SELECT ? / ?|INSERT INTO t VALUES (1); SELECT 1; SELECT 1/0| 4 false 23505 I"}},
	"only the client's side, after it was refused encryption": {func(m *maker) {
		m.open()
		m.send(0, pg(0, int32(80877103)), 1400)
		m.lose(1, 1)
		m.send(0, pgStart, 1400)
		m.send(0, pgQuery("SELECT 1 FROM t WHERE a='x'"), 1400)
		m.lose(1, 100)
		m.send(0, pgQuery("ROLLBACK"), 1400)
		m.packets = slices.DeleteFunc(m.packets, func(p traffic.Packet) bool { return p.Data[29] == 2 }) // 10.0.0.2 is the server
	}, []string{"open Startup stock|| 0 false  ", "open SELECT SELECT ? FROM t WHERE a = ?|SELECT 1 FROM t WHERE a='x'| 0 false  ", "open ROLLBACK ROLLBACK|ROLLBACK| 0 false  "}},
	"empty": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("-- ping"), 10)
		m.send(1, pg('I')+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete EMPTY |-- ping| 0 true  I"}},
	"prepared": {func(m *maker) {
		pgOpen(m)
		m.send(0, pg('P', "s1", pgSelect, 0)+pg('D', []byte("S"), "s1")+pgSync, 1400)
		m.send(1, pg('1')+pg('t', 1, int32(23))+pgFields+pgIdle, 1400)
		m.send(0, pgBind+pg('D', []byte("P"), "")+pgRun+pgSync, 11)
		m.send(1, pg('2')+pgFields+pgRow+pg('C', "SELECT 1")+pgIdle, 11)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete Parse SELECT id FROM items WHERE id = ?|" + pgSelect + "|s1 0 true  I",
		"complete SELECT SELECT id FROM items WHERE id = ?|" + pgSelect + "|s1[7] 1 true  I"}},
	"pipeline with an error": {func(m *maker) {
		pgOpen(m)
		one := pg('P', "", "INSERT INTO t VALUES ($1)", 0) + pg('B', "", "", 0, 1, int32(-1), 0) + pgRun
		m.send(0, one+one+one+pgSync+pgQuery("COMMIT"), 1400)
		m.send(1, pg('1')+pg('2')+pg('C', "INSERT 0 1")+pg('1')+pg('2')+pgFail+pg('Z', []byte("E"))+pg('C', "ROLLBACK")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete INSERT INSERT INTO t VALUES (?)|INSERT INTO t VALUES ($1)|[NULL] 1 true  E",
		"complete INSERT INSERT INTO t VALUES (?)|INSERT INTO t VALUES ($1)|[NULL] 0 false 23505 E",
		"complete INSERT INSERT INTO t VALUES (?)|INSERT INTO t VALUES ($1)|[NULL] 0 false  E SKIPPED", "complete COMMIT COMMIT|COMMIT| 0 true  I"}},
	"error before its Sync is sent": {func(m *maker) {
		pgOpen(m)
		m.send(0, pg('P', "", "SELEC", 0), 1400)
		m.send(1, pgFail, 1400)
		m.send(0, pg('B', "", "", 0, 0, 0)+pgRun+pgSync, 1400)
		m.send(1, pgIdle, 1400)
		m.send(0, pgQuery("SELECT 1"), 1400)
		m.send(1, pg('C', "SELECT 1")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete Parse SELEC|SELEC| 0 false 23505 I",
		"complete SELEC SELEC|SELEC| 0 false  I SKIPPED", "complete SELECT SELECT ?|SELECT 1| 1 true  I"}},
	"fails at commit": {func(m *maker) {
		pgOpen(m)
		m.send(0, pg('P', "", "INSERT INTO t VALUES (1)", 0)+pg('B', "", "", 0, 0, 0)+pgRun+pgSync, 1400)
		m.send(1, pg('1')+pg('2')+pg('C', "INSERT 0 1")+pgFail+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete INSERT INSERT INTO t VALUES (?)|INSERT INTO t VALUES (1)| 1 false 23505 I"}},
	"portal in parts": {func(m *maker) {
		pgOpen(m)
		m.send(0, pg('P', "", "SELECT 1", 0)+pg('B', "p", "", 0, 0, 0)+pg('E', "p", int32(1))+pg('H'), 1400)
		m.send(1, pg('1')+pg('2')+pgRow+pg('s'), 1400)
		m.send(0, pg('E', "p", int32(0))+pgSync, 1400)
		m.send(1, pgRow+pgRow+pg('C', "SELECT 2")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete SELECT SELECT ?|SELECT 1| 1 true  I", "complete SELECT SELECT ?|SELECT 1| 2 true  I"}},
	"copy in": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("COPY t FROM STDIN"), 1400)
		m.send(1, pg('G', []byte{0}, 1, 0), 1400)
		m.send(0, pg('d', []byte("1\n"))+pg('d', []byte("2\n"))+pg('c'), 1400)
		m.send(1, pg('C', "COPY 2")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete COPY COPY t FROM STDIN|COPY t FROM STDIN| 2 true  I"}},
	"copy in, extended, with an early Sync": {func(m *maker) {
		pgOpen(m)
		m.send(0, pg('P', "", "COPY t FROM STDIN", 0)+pg('B', "", "", 0, 0, 0)+pgRun+pgSync, 1400)
		m.send(1, pg('1')+pg('2')+pg('G', []byte{0}, 1, 0), 1400)
		m.send(0, pg('d', []byte("1\n"))+pg('c')+pgSync, 1400)
		m.send(1, pg('C', "COPY 1")+pgIdle, 1400)
		m.send(0, pgQuery("SELECT 1"), 1400)
		m.send(1, pg('C', "SELECT 1")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete COPY COPY t FROM STDIN|COPY t FROM STDIN| 1 true  I", "complete SELECT SELECT ?|SELECT 1| 1 true  I"}},
	"copy out": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("COPY t TO STDOUT"), 1400)
		m.send(1, pg('H', []byte{0}, 1, 0)+pg('d', []byte("1\n"))+pg('c')+pg('C', "COPY 1")+pgIdle, 7)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete COPY COPY t TO STDOUT|COPY t TO STDOUT| 1 true  I"}},
	"function call": {func(m *maker) {
		pgOpen(m)
		m.send(0, pg('F', int32(12), 0, 1, int32(1), []byte("1"), 0), 1400)
		m.send(1, pg('V', int32(1), []byte("1"))+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete FunctionCall || 1 true  I"}},
	"notice and notification": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("LISTEN a"), 1400)
		m.send(1, pg('N', []byte("S"), "NOTICE", []byte("C"), "00000", []byte("M"), "m", []byte{0})+pg('C', "LISTEN")+pgIdle, 1400)
		m.send(1, pg('A', int32(3), "a", "hello"), 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete LISTEN LISTEN a|LISTEN a| 0 true  I", "complete NotificationResponse a|| 0 true   hello"}},
	"cancel": {func(m *maker) {
		m.open()
		m.send(0, pg(0, int32(80877102), int32(1), int32(2)), 1400)
		m.close(1)
	}, []string{"complete CancelRequest || 0 true  "}},
	"wrong password": {func(m *maker) {
		m.open()
		m.send(0, pg(0, int32(80877103)), 1400)
		m.send(1, "N", 1400)
		m.send(0, pgStart, 1400)
		m.send(1, pg('R', int32(5), []byte("salt")), 1400)
		m.send(0, pg('p', "md5abc"), 1400)
		m.send(1, pgFatal, 1400)
		m.close(1)
	}, []string{"complete Startup stock|| 0 false 28P01  FATAL md5"}},
	"TLS": {func(m *maker) {
		m.open()
		m.send(0, pg(0, int32(80877103)), 1400)
		m.send(1, "S", 1400)
		m.send(0, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 1400)
		m.close(0)
	}, nil},
	"server dies": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("SELECT 1")+pgQuery("SELECT 2"), 1400)
		m.send(1, pgFields, 1400)
		m.flag(1, 0x14)
	}, []string{"complete Startup stock|| 0 true  I", "truncated SELECT SELECT ?|SELECT 1| 0 false   truncated", "unanswered SELECT SELECT ?|SELECT 2| 0 false   connection_reset"}},
	"server is shut down": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("SELECT 1"), 1400)
		m.send(1, strings.Replace(pgFatal, "28P01", "57P01", 1), 1400)
		m.close(1)
	}, []string{"complete Startup stock|| 0 true  I", "complete SELECT SELECT ?|SELECT 1| 0 false 57P01  FATAL"}},
	"client gives up": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("SELECT 1"), 1400)
		m.flag(0, 0x11)
		m.flag(1, 0x11)
	}, []string{"complete Startup stock|| 0 true  I", "unanswered SELECT SELECT ?|SELECT 1| 0 false   cancelled"}},
	"joined late": {func(m *maker) {
		m.send(1, "half of a row", 1400)
		m.send(1, pgRow+pg('C', "SELECT 9")+pgIdle, 1400)
		m.send(0, pgBind+pg('D', []byte("P"), "")+pgRun+pgSync, 1400)
		m.send(1, pg('2')+pgFields+pgRow+pg('C', "SELECT 1")+pgIdle, 1400)
		m.send(0, pgQuery("BEGIN"), 1400)
		m.send(1, pg('C', "BEGIN")+pg('Z', []byte("T")), 1400)
		m.close(0)
	}, []string{"half SELECT || 9 true  I unknown", "complete SELECT ||s1[7] 1 true  I unknown", "complete BEGIN BEGIN|BEGIN| 0 true  T"}},
	"gap in a query": {func(m *maker) {
		pgOpen(m)
		q := pgQuery("SELECT '" + strings.Repeat("x", 3000) + "'")
		m.send(0, q[:1000], 1400)
		m.lose(0, 1000)
		m.send(0, q[2000:], 1400)
		m.send(1, pg('C', "SELECT 1")+pgIdle, 1400)
		m.send(0, pgQuery("SELECT 2"), 1400)
		m.send(1, pg('C', "SELECT 1")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete SELECT SELECT ?|SELECT '" + strings.Repeat("x", 987) + "| 1 true  I cut", "complete SELECT SELECT ?|SELECT 2| 1 true  I"}},
	"gap in rows": {func(m *maker) {
		pgOpen(m)
		row := pg('D', 1, int32(3000), []byte(strings.Repeat("x", 3000)))
		m.send(0, pgQuery("SELECT 1"), 1400)
		m.send(1, row[:1000], 1400)
		m.lose(1, 1000)
		m.send(1, row[2000:]+pg('C', "SELECT 1")+pgIdle, 1400)
		m.send(0, pgQuery("SELECT 2"), 1400)
		m.send(1, pg('C', "SELECT 1")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete SELECT SELECT ?|SELECT 1| 1 true  I", "complete SELECT SELECT ?|SELECT 2| 1 true  I"}},
	"gap is answer": {func(m *maker) {
		pgOpen(m)
		m.send(0, pgQuery("SELECT 1"), 1400)
		m.lose(1, 60)
		m.send(0, pgQuery("SELECT 2"), 1400)
		m.send(1, pg('C', "SELECT 5")+pgIdle, 1400)
		m.send(0, pgQuery("SELECT 3"), 1400)
		m.send(1, pg('C', "SELECT 6")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "open SELECT SELECT ?|SELECT 1| 0 false  ", "complete SELECT SELECT ?|SELECT 2| 5 true  I", "complete SELECT SELECT ?|SELECT 3| 6 true  I"}},
	"gap is request": {func(m *maker) {
		pgOpen(m)
		m.lose(0, 60)
		m.send(1, pg('C', "SELECT 5")+pgIdle, 1400)
		m.send(0, pgQuery("SELECT 2"), 1400)
		m.send(1, pg('C', "SELECT 6")+pgIdle, 1400)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "half SELECT || 5 true  I unknown", "complete SELECT SELECT ?|SELECT 2| 6 true  I"}},
	"two points": {func(m *maker) {
		m.points = []int{0, 1}
		pgOpen(m)
		m.send(0, pgQuery("SELECT 1"), 5)
		m.send(1, pg('C', "SELECT 1")+pgIdle, 5)
		m.close(0)
	}, []string{"complete Startup stock|| 0 true  I", "complete SELECT SELECT ?|SELECT 1| 1 true  I"}},
}

func madePG(name string) *maker {
	m := newMaker()
	m.server = addrPort("10.0.0.2:15432")
	postgresqlScenarios[name].make(m)
	return m.numbered()
}

// pgLine is a call as the table above writes it.
func pgLine(c *traffic.Call) string {
	p := c.PostgreSQL
	if p == nil {
		return fmt.Sprintf("%s %s %s", c.State, c.Method, c.Path)
	}
	bound := ""
	if p.Parameters > 0 {
		bound = fmt.Sprint(p.Arguments)
	}
	line := fmt.Sprintf("%s %s %s|%s|%s%s %d %v %s %s", c.State, c.Method, c.Path, p.Query, p.Statement, bound, p.Rows, p.Success, p.SQLState, p.Transaction)
	for _, word := range []string{p.Severity, c.Error} {
		if word != "" && word != "ERROR" {
			line += " " + word
		}
	}
	if p.SQLState == "" && p.Severity == "" && p.Message != "" {
		line += " " + p.Message
	}
	if p.Unknown {
		line += " unknown"
	}
	if p.QueryCut {
		line += " cut"
	}
	if p.Authentication == "md5" {
		line += " md5"
	}
	return line
}

func TestPostgreSQLScenarios(t *testing.T) {
	for name, s := range postgresqlScenarios {
		t.Run(name, func(t *testing.T) {
			var got rows
			account := feed(dissect.New(got.into()), madePG(name).packets, workloads)
			var lines []string
			for _, c := range got.Calls {
				lines = append(lines, pgLine(c))
				if c.PostgreSQL != nil && c.PostgreSQL.Fingerprint != "" && c.PostgreSQL.Fingerprint != c.Path {
					t.Errorf("fingerprint %q and path %q differ", c.PostgreSQL.Fingerprint, c.Path)
				}
				if c.State == traffic.StateComplete && c.Method != "CancelRequest" && c.Method != "NotificationResponse" &&
					(c.RequestSize == 0 || c.ResponseSize == 0 || c.ResponseStart < c.Start || c.End < c.ResponseStart || c.RequestPackets.First == 0) {
					t.Errorf("sizes, times or packets: %+v", c)
				}
			}
			if diff := cmp.Diff(s.want, lines); diff != "" {
				t.Errorf("calls (-want +got):\n%s\naccount %+v", diff, account)
			}
			if len(got.Connections) != 1 || got.Connections[0].L7 != traffic.ProtoPostgreSQL {
				t.Errorf("connections: %+v", got.Connections)
			}
		})
	}
}

// TestPostgreSQLCheckpoints splits every scenario at every packet.
func TestPostgreSQLCheckpoints(t *testing.T) {
	for name := range postgresqlScenarios {
		m := madePG(name)
		for at := range m.packets {
			split(t, m.packets, workloads, at)
			if t.Failed() {
				t.Fatalf("in %s", name)
			}
		}
	}
}

// TestPostgreSQLJoinedAnywhere drops the first packets of a conversation: what is asked afterwards is found whatever was lost.
func TestPostgreSQLJoinedAnywhere(t *testing.T) {
	m := newMaker()
	pgOpen(m)
	for range 5 {
		m.send(0, pg('P', "", pgSelect, 0)+pg('B', "", "", 0, 1, int32(1), []byte("7"), 0)+pgRun+pgSync, 40)
		m.send(1, pg('1')+pg('2')+pgFields+pgRow+pg('C', "SELECT 1")+pgIdle, 30)
	}
	before := len(m.packets)
	m.send(0, pgQuery("UPDATE t SET a = 1"), 1400)
	m.send(1, pg('C', "UPDATE 3")+pgIdle, 1400)
	m.close(0)
	for at := range before {
		var got rows
		feed(dissect.New(got.into()), m.packets[at:], workloads)
		n := len(got.Calls)
		if n == 0 || pgLine(got.Calls[n-1]) != "complete UPDATE UPDATE t SET a = ?|UPDATE t SET a = 1| 3 true  I" {
			t.Errorf("from packet %d on: %d calls", at, n)
			for _, c := range got.Calls {
				t.Log(pgLine(c))
			}
		}
	}
}

// TestPostgreSQLBounded sends what would need memory without end.
func TestPostgreSQLBounded(t *testing.T) {
	m := newMaker()
	pgOpen(m)
	for i := range 4000 {
		m.send(0, pg('P', fmt.Sprint("s", i), "SELECT '"+strings.Repeat("x", 1000)+"'", 0)+pg('B', fmt.Sprint("p", i), fmt.Sprint("s", i), 0, 0, 0)+pg('E', fmt.Sprint("p", i), int32(0)), 60000)
	}
	var got rows
	d := dissect.New(got.into())
	feed(d, m.packets, workloads)
	state, err := d.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if len(state) > 4<<20 {
		t.Errorf("checkpoint of %d bytes", len(state))
	}
}

// FuzzPostgreSQL sends the input as the two sides of one connection.
func FuzzPostgreSQL(f *testing.F) {
	for name := range postgresqlScenarios {
		var sides [2]string
		for _, p := range madePG(name).packets {
			side := 0
			if binary.BigEndian.Uint16(p.Data[34:]) == 15432 {
				side = 1
			}
			sides[side] += string(p.Data[54:])
		}
		f.Add([]byte(sides[0]), []byte(sides[1]), uint8(200), uint16(0))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, size uint8, hole uint16) {
		if len(client)+len(server) > 8000 {
			return
		}
		m := newMaker().open()
		n := int(hole) % (len(client) + 1)
		m.send(0, string(client[:n]), int(size)+1)
		if hole&1 != 0 && n > 0 {
			m.lose(0, 10)
		}
		m.send(1, string(server), int(size)+1)
		m.send(0, string(client[n:]), int(size)+1)
		m.close(0)
		var got rows
		o := got.into()
		o.MaxBuffered = 4096
		feed(dissect.New(o), m.packets, nil)
		for _, c := range got.Calls {
			if c.End != 0 && c.End < c.Start {
				t.Fatalf("ends before it starts: %+v", c)
			}
		}
	})
}

// TestPostgreSQLForeign looks at captures of others: what is PostgreSQL is found, what is not is left alone.
func TestPostgreSQLForeign(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	for _, file := range []string{"zeek/postgresql/psql-login.pcap", "zeek/postgresql/psql-login-fail.pcap", "zeek/postgresql/greenhouse-app.pcap",
		"zeek/postgresql/psql-insert-fail-drop-fail.pcap", "zeek/postgresql/psql-login-no-sslrequest.pcap"} {
		calls, _, err := dissectFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range calls {
			if c.PostgreSQL != nil {
				n++
				if os.Getenv("DEVLOOP_SHOW") != "" {
					b, _ := json.Marshal(c.PostgreSQL)
					t.Logf("%s %s %s", file, c.State, b)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: no call", file)
		}
	}
	for _, file := range []string{"zeek/postgresql/http-on-port-5432.pcap", "zeek/postgresql/mysql-on-port-5432.pcap"} {
		calls, _, err := dissectFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range calls {
			if c.PostgreSQL != nil {
				t.Errorf("%s: %s", file, pgLine(c))
			}
		}
	}
}
