package postgresql

import "testing"

func TestFingerprint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"literals", `SELECT * FROM items WHERE id = 42 AND name = 'it''s' AND x = 1.5e-3`, `SELECT * FROM items WHERE id = ? AND name = ? AND x = ?`},
		{"parameters", `UPDATE items SET n = $1 WHERE id=$2;`, `UPDATE items SET n = ? WHERE id = ?`},
		{"in list", `SELECT a FROM t WHERE id IN (1, 2,3) OR b in ($1,$2)`, `SELECT a FROM t WHERE id IN (?) OR b in (?)`},
		{"in list of one", `SELECT a FROM t WHERE id IN (1)`, `SELECT a FROM t WHERE id IN (?)`},
		{"function keeps its arguments", `SELECT coalesce(1, 2), min(3)`, `SELECT coalesce(?, ?), min(?)`},
		{"array", `SELECT ARRAY[1,2,3]`, `SELECT ARRAY[?]`},
		{"rows of values", "INSERT INTO t(a,b) VALUES (1,'x'), (2,'y'),\n(3,'z') RETURNING id", `INSERT INTO t(a, b) VALUES (?, ?) RETURNING id`},
		{"comments", "/* a /* nested */ b */ SELECT 1 -- end\n FROM t", `SELECT ? FROM t`},
		{"only a comment", "-- ping", ``},
		{"white space", "  SELECT\n\ta ,b\r\n  FROM   t  ", `SELECT a, b FROM t`},
		{"operators", `SELECT a+b, a -1, a*-2 FROM t WHERE a<=3 AND j->>'k'='v' AND a=-5`, `SELECT a + b, a - ?, a * - ? FROM t WHERE a <= ? AND j ->> ? = ? AND a = ?`},
		{"escapes", `SELECT E'a\'b', B'01', X'ff', U&'d\0061t', N'x'`, `SELECT ?, ?, ?, ?, ?`},
		{"dollar quotes", `DO $$ BEGIN PERFORM 1; END $$; SELECT $tag$ a $$ b $tag$`, `DO ?; SELECT ?`},
		{"cast", `SELECT '1' :: int, $1::text[]`, `SELECT ?::int, ?::text[]`},
		{"quoted names", `SELECT "a ""b"" 1" FROM "T".x`, `SELECT "a ""b"" 1" FROM "T".x`},
		{"names with digits", `SELECT t1.c2 FROM t1`, `SELECT t1.c2 FROM t1`},
		{"unfinished string", `SELECT 'abc`, `SELECT ?`},
		{"unfinished comment", `SELECT 1 /* abc`, `SELECT ?`},
		{"empty", ``, ``},
		{"negative between", `x BETWEEN -1 AND -2`, `x BETWEEN ? AND ?`},
		{"umlauts", `SELECT 'ä' FROM größe`, `SELECT ? FROM größe`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Fingerprint(c.in)
			if got != c.want {
				t.Errorf("Fingerprint(%q):\n got %q\nwant %q", c.in, got, c.want)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"select 1": "SELECT", " (SELECT 1) UNION (SELECT 2)": "SELECT", "-- ping": "", "": "", ";": "",
		"WITH x AS (SELECT 1), y AS (DELETE FROM t RETURNING *) INSERT INTO z SELECT * FROM x": "INSERT",
		"/*a*/begin": "BEGIN", "WITH x AS (SELECT 1)": "WITH",
	} {
		if got := command(in); got != want {
			t.Errorf("command(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add(`SELECT E'a\'b', $1::int FROM t WHERE a IN (1,2) -- x`)
	f.Add("INSERT INTO t VALUES (1,2),(3,4) /* $$")
	f.Add("$a$ $b$ $a$ .5 1..2 u&\"x\" :=")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 20_000 {
			return
		}
		Fingerprint(s)
		command(s)
	})
}
