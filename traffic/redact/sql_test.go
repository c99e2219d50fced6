package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

func TestPostgreSQLHides(t *testing.T) {
	t.Parallel()
	r := New(testKey, Options{})
	mark := func(kind, value string) string {
		return string(r.replace([]byte(value), []span{{to: len(value), kind: kind}}, nil))
	}
	for _, c := range []struct {
		name, in, want  string
		arguments, hide []string
	}{
		{name: "comparison", in: `SELECT id FROM users WHERE password = 'hunter2' AND name = 'ann'`,
			want: `SELECT id FROM users WHERE password = '` + mark("password", "hunter2") + `' AND name = 'ann'`},
		{name: "role", in: `ALTER ROLE shop WITH ENCRYPTED PASSWORD 'hunter2'`, want: `ALTER ROLE shop WITH ENCRYPTED PASSWORD '` + mark("password", "hunter2") + `'`},
		{name: "insert", in: `INSERT INTO users (email, password, age) VALUES ('a@b', 'hunter2', 7), ('c@d', 'hunter3', 8)`,
			want: `INSERT INTO users (email, password, age) VALUES ('a@b', '` + mark("password", "hunter2") + `', 7), ('c@d', '` + mark("password", "hunter3") + `', 8)`},
		{name: "in list", in: `SELECT 1 FROM s WHERE token IN ('abc', 'def') AND n IN ('x')`,
			want: `SELECT 1 FROM s WHERE token IN ('` + mark("token", "abc") + `', '` + mark("token", "def") + `') AND n IN ('x')`},
		{name: "looks", in: `SELECT '` + testJWT + `' /* x */`, want: `SELECT '` + mark("jwt", testJWT) + `' /* x */`},
		{name: "json", in: `SELECT '{"password":"hunter2"}'::jsonb`, want: `SELECT '{"password":"` + mark("password", "hunter2") + `"}'::jsonb`},
		{name: "parameters", in: `UPDATE users SET password = $2 WHERE id = $1`, want: `UPDATE users SET password = $2 WHERE id = $1`,
			arguments: []string{"7", "hunter2"}, hide: []string{"7", mark("password", "hunter2")}},
		{name: "inserted parameters", in: `insert into users(email, "password") values ($1, $2)`, want: `insert into users(email, "password") values ($1, $2)`,
			arguments: []string{"a@b", "hunter2"}, hide: []string{"a@b", mark("password", "hunter2")}},
		{name: "nothing", in: `SELECT password, token FROM users WHERE id = 'x'`, want: `SELECT password, token FROM users WHERE id = 'x'`},
		{name: "unfinished", in: `SELECT 1 WHERE password = 'hunt`, want: `SELECT 1 WHERE password = '` + mark("password", "hunt")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			call := &traffic.Call{Protocol: traffic.ProtoPostgreSQL, Path: "SELECT ? WHERE password = ?",
				PostgreSQL: &traffic.PostgreSQL{Query: c.in, Fingerprint: "SELECT ? WHERE password = ?", Arguments: c.arguments, Authentication: "scram"}}
			before := strings.Join(c.arguments, ",")
			r.Call(call)
			if diff := cmp.Diff(c.want, call.PostgreSQL.Query); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.hide, call.PostgreSQL.Arguments); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			if strings.Join(c.arguments, ",") != before {
				t.Error("the dissector's own arguments were changed")
			}
			if call.Path != "SELECT ? WHERE password = ?" || call.PostgreSQL.Fingerprint != call.Path {
				t.Errorf("fingerprint changed: %q", call.Path)
			}
			if n := len(call.Credentials); n == 0 || call.Credentials[n-1] != (traffic.Credential{Kind: "scram", Place: "request.authentication"}) {
				t.Errorf("credentials: %v", call.Credentials)
			}
			once := *call.PostgreSQL
			r.Call(call)
			if diff := cmp.Diff(&once, call.PostgreSQL); diff != "" {
				t.Errorf("a second time (-first +second):\n%s", diff)
			}
		})
	}
}

func FuzzSQL(f *testing.F) {
	f.Add(`INSERT INTO u (a, password) VALUES ($1, E'x\'y'); ALTER ROLE a PASSWORD $$b$$ -- c`)
	r := New(testKey, Options{})
	f.Fuzz(func(t *testing.T, s string) {
		at := 0
		spans, _ := r.sql(s)
		for _, x := range spans {
			if x.from < at || x.to < x.from || x.to > len(s) {
				t.Fatalf("%q: spans %v", s, spans)
			}
			at = x.to
		}
	})
}
