package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/testdb"
)

// Tables that cannot be replicated are refused with the statement that changes that.
func TestRefusals(t *testing.T) {
	n := newNode(t, dialect.Config{})
	s := testdb.SharedMariaDB(t)
	other := s.NewDatabase(t)
	mustExec(t, s.Open(t, other), "CREATE TABLE outside (id INT PRIMARY KEY)")
	n.exec(
		"CREATE TABLE fine (id INT NOT NULL PRIMARY KEY) PARTITION BY HASH(id) PARTITIONS 3",
		"CREATE TABLE keyless (a INT, UNIQUE (a))",
		"CREATE TABLE prefix (a TEXT, PRIMARY KEY (a(10)))",
		"CREATE TABLE isam (id INT PRIMARY KEY) ENGINE=MyISAM",
		"CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
		"CREATE SEQUENCE seq",
		"CREATE TABLE members (k SET('x','it''s','') PRIMARY KEY)",
		"CREATE TABLE quoted (k SET('it''s','''','(''') PRIMARY KEY, v SET(''))",
		"CREATE TABLE child (id INT PRIMARY KEY, o INT, FOREIGN KEY (o) REFERENCES "+lang.Qualified(other, "outside")+" (id) ON DELETE CASCADE)",
		"CREATE TABLE quiet (id INT PRIMARY KEY, o INT, FOREIGN KEY (o) REFERENCES "+lang.Qualified(other, "outside")+" (id))",
		"CREATE TABLE loops (id INT PRIMARY KEY, a INT, b INT, FOREIGN KEY (a) REFERENCES loops (id) ON DELETE CASCADE, FOREIGN KEY (b) REFERENCES loops (id) ON DELETE CASCADE)",
		"CREATE VIEW v AS SELECT * FROM fine",
	)
	defer n.exec("DROP TABLE child, quiet")
	want := map[string]string{
		"fine": "", "quiet": "", "conflicts": "", "followers": "", "keyless": "ADD PRIMARY KEY", "prefix": "whole columns", "isam": "ENGINE=InnoDB",
		"versioned": "DROP SYSTEM VERSIONING", "seq": "DROP SEQUENCE", "child": "DROP FOREIGN KEY", "loops": "CASCADE", "members": "empty member", "quoted": "",
	}
	for _, tab := range n.tables() {
		w, ok := want[tab.Name]
		if !ok || (w == "") != (tab.Refusal == "") || !strings.Contains(tab.Refusal, w) {
			t.Errorf("table %s: refusal %q", tab.Name, tab.Refusal)
		}
		if tab.Refusal != "" && !strings.Contains(tab.Refusal, lang.Ident(tab.Name)) {
			t.Errorf("refusal does not name %s: %q", tab.Name, tab.Refusal)
		}
		delete(want, tab.Name)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	n.install(dialect.Keys)
}

// What the user or the server does not permit is said at Bind, with the way out and
// without the password.
func TestBindErrors(t *testing.T) {
	s := testdb.MariaDB(t, "--log-bin", "--server-id=1", "--binlog-format=MIXED")
	root := s.Open(t, "")
	mustExec(t, root, "CREATE DATABASE app", "CREATE USER u@'%' IDENTIFIED BY 'sesame'", "GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO u@'%'")
	bind := func(password, database string) error {
		db := openAs(t, s, "u", password, database)
		defer db.Close()
		_, err := Dialect{}.Bind(t.Context(), db, dialect.Config{})
		return err
	}
	check := func(err error, privilege bool, words ...string) {
		t.Helper()
		if err == nil || errors.Is(err, dialect.ErrPrivilege) != privilege {
			t.Fatalf("got error %v", err)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error does not say %q: %v", w, err)
			}
		}
		if strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "wrong!") {
			t.Errorf("error tells a password: %v", err)
		}
	}
	check(bind("wrong!", "app"), true, "Access denied")
	check(bind("sesame", "app"), true, "TRIGGER", "GRANT", "app")
	mustExec(t, root, "GRANT TRIGGER ON app.* TO u@'%'")
	check(bind("sesame", "app"), true, "app_ddb")
	mustExec(t, root, "GRANT ALL PRIVILEGES ON `app\\_ddb`.* TO u@'%'")
	check(bind("sesame", "app"), true, "log_bin_trust_function_creators=1")

	// The server says the same if ddb gets as far as its triggers.
	mustExec(t, root, "SET GLOBAL log_bin_trust_function_creators=1", "CREATE TABLE app.t (id INT PRIMARY KEY)")
	n := bindNode(t, openAs(t, s, "u", "sesame", "app"), dialect.Config{})
	if w := n.eng.Warning(); !strings.Contains(w, "GRANT PROCESS ON *.* TO `u`@`%`") {
		t.Errorf("without PROCESS the warning is %q", w)
	}
	mustExec(t, root, "SET GLOBAL log_bin_trust_function_creators=0")
	check(n.eng.InstallCapture(t.Context(), n.db, n.tables(), dialect.Keys), true, "log_bin_trust_function_creators=1")
	mustExec(t, root, "SET GLOBAL log_bin_trust_function_creators=1")
	n.install(dialect.Keys)
	n.exec("INSERT INTO t VALUES (1)")
	if keys := n.collectKeys("t", nil); len(keys) != 1 {
		t.Errorf("collected %v", keys)
	}

	check(bind("sesame", ""), false, "Databases")
	db := openAs(t, s, "u", "sesame", "app")
	db.SetMaxOpenConns(1)
	_, err := Dialect{}.Bind(t.Context(), db, dialect.Config{})
	check(err, false, "SetMaxOpenConns")
	s.Stop()
	check(bind("sesame", "app"), false, "connect")
}

// A schema statement means the same on another server: sql_mode, character set,
// time; and the session is as before.
func TestRunSurroundings(t *testing.T) {
	a, b := newNode(t, dialect.Config{}), newNode(t, dialect.Config{}, "sql_mode=%27ANSI_QUOTES%27", "collation=latin1_swedish_ci")
	c := a.lax()
	session := func(c *sql.Conn) string {
		rows, err := lang.Texts(t.Context(), c, "SELECT DATABASE(), @@sql_mode, @@character_set_client, @@collation_connection, @@timestamp > UNIX_TIMESTAMP('2020-01-01')")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(rows)
	}
	was := session(c)
	s := dialect.Statement{SQL: "CREATE TABLE t (id INT PRIMARY KEY, v TEXT DEFAULT 'ä\\'', d DATETIME(6) DEFAULT '0000-00-00', c DATETIME(6) DEFAULT NOW(6))"}
	a.ok(a.eng.Run(t.Context(), c, &s))
	add := dialect.Statement{SQL: "INSERT INTO t (id) VALUES (1)"}
	a.ok(a.eng.Run(t.Context(), c, &add))
	if now := session(c); now != was {
		t.Errorf("session was %s and is %s", was, now)
	}
	if s.Database == "" || s.Charset != "utf8mb4" || s.Collation == "" || s.Timestamp == 0 || !strings.Contains(s.SQLMode, "ALLOW_INVALID_DATES") {
		t.Errorf("surroundings %+v", s)
	}
	rc, err := b.eng.Conn(t.Context(), dialect.Replay)
	b.ok(err)
	defer b.eng.Release(rc)
	was = session(rc)
	for _, st := range []*dialect.Statement{&s, &add} {
		st.Database = b.eng.server.Databases()[0]
		b.ok(b.eng.Run(t.Context(), rc, st))
	}
	bad := dialect.Statement{SQL: "CREATE TABLE t (id INT)"}
	if err := b.eng.Run(t.Context(), rc, &bad); err == nil {
		t.Error("a table was created twice")
	}
	if now := session(rc); now != was {
		t.Errorf("session was %s and is %s", was, now)
	}
	a.same(b, "t")
	if x, y := a.table("t").Fingerprint, b.table("t").Fingerprint; x != y {
		t.Errorf("the tables differ")
	}
}

// Routines, views on views and triggers come to life on an empty node with the sql_mode
// that they were made in.
func TestObjectsSurroundings(t *testing.T) {
	a, b := newNode(t, dialect.Config{Guard: true}), newNode(t, dialect.Config{})
	c := a.lax()
	mustExec(t, c, "SET sql_mode='PIPES_AS_CONCAT,ANSI_QUOTES'",
		"CREATE TABLE t (id INT PRIMARY KEY, v TEXT)",
		"CREATE FUNCTION f(x TEXT) RETURNS TEXT DETERMINISTIC RETURN x || 'ä'",
		"CREATE PROCEDURE pr() INSERT INTO t VALUES (7, 'a' || 'b')",
		"CREATE VIEW z AS SELECT id, f(v) AS v FROM t", "CREATE VIEW a AS SELECT v FROM z",
		"CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v || '!'")
	a.install(dialect.Images)
	objects, err := a.eng.Objects(t.Context(), a.db)
	a.ok(err)
	rc, err := b.eng.Conn(t.Context(), dialect.Replay)
	b.ok(err)
	defer b.eng.Release(rc)
	for _, o := range objects {
		if o.Kind == "database" {
			continue
		}
		b.ok(b.eng.Run(t.Context(), rc, &dialect.Statement{SQL: o.SQL, Database: b.eng.server.Databases()[0]}))
	}
	b.exec("CALL pr()")
	var v string
	b.ok(b.db.QueryRow("SELECT v FROM a").Scan(&v))
	if v != "ab!ä" {
		t.Errorf("the objects made %q", v)
	}
}

// Values as big as the server takes at all, and rows that are bigger than a packet.
func TestHugeRows(t *testing.T) {
	a, b := newNode(t, dialect.Config{}), newNode(t, dialect.Config{})
	for _, n := range []*node{a, b} {
		n.exec("CREATE TABLE t (id INT PRIMARY KEY, x LONGBLOB, y LONGTEXT CHARACTER SET utf8mb4, z INT, UNIQUE (z))")
	}
	a.install(dialect.Keys)
	a.exec("INSERT INTO t VALUES (1, REPEAT(x'00ff275c', 4<<20), NULL, 1), (2, NULL, REPEAT('ä€😀', 1<<20), 2)",
		"INSERT INTO t SELECT 3, (SELECT x FROM t WHERE id=1), (SELECT y FROM t WHERE id=2), 3",
		"INSERT INTO t SELECT 10+seq, REPEAT('z', 100000*seq), REPEAT('ä', 30000*seq), 10+seq FROM seq_1_to_12")
	if n := a.ship(b); n != 15 {
		t.Errorf("%d rows shipped", n)
	}
	a.same(b, "t")
	b.in(dialect.Batch, func(c *sql.Conn) {
		row := dialect.Row{Key: []any{int64(2)}, Values: []any{int64(2), []byte(strings.Repeat("\x00", 5<<20)), nil, int64(2)}}
		b.ok(b.eng.Apply(context.Background(), c, b.table("t"), []dialect.Row{row}, dialect.Strict))
	})
	var n int
	b.ok(b.db.QueryRow("SELECT LENGTH(x) FROM t WHERE id=2").Scan(&n))
	if n != 5<<20 {
		t.Errorf("%d bytes", n)
	}
}

// A callback may use the connection that its rows come from, however many there are.
func TestCallbackUsesConnection(t *testing.T) {
	n := newNode(t, dialect.Config{})
	n.exec("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
	n.install(dialect.Keys)
	n.exec("INSERT INTO t SELECT seq, REPEAT('x', 600) FROM seq_1_to_20000")
	seen, bytes := map[int64]bool{}, 0
	n.in(dialect.Pass, func(c *sql.Conn) {
		_, err := n.eng.Collect(t.Context(), c, n.table("t"), func(r dialect.Row) error {
			id := r.Key[0].(int64)
			if seen[id] = true; id%1000 == 0 {
				mustExec(t, c, fmt.Sprintf("INSERT INTO %s (k) VALUES ('%d')", n.eng.Own("meta"), id))
			}
			bytes += len(r.Values[1].(string))
			return nil
		})
		n.ok(err)
	})
	if len(seen) != 20000 || bytes != 20000*600 {
		t.Errorf("%d rows with %d bytes", len(seen), bytes)
	}
}

// Any client's schema statement changes the version, TRUNCATE in the same second too;
// ddb's own triggers and users' rows do not.
func TestVersionSeesEverything(t *testing.T) {
	n := newNode(t, dialect.Config{})
	n.exec("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)")
	last := ""
	look := func(change bool, after string) {
		t.Helper()
		v, err := n.eng.Version(t.Context(), n.db)
		n.ok(err)
		if change == (v == last) {
			t.Errorf("%s: version changed: %t", after, !change)
		}
		last = v
	}
	look(true, "CREATE")
	n.install(dialect.Images)
	look(false, "InstallCapture")
	for _, s := range []string{"ALTER TABLE t MODIFY v BIGINT", "TRUNCATE t", "TRUNCATE t", "ALTER TABLE t ADD COLUMN w INT", "CREATE TABLE u (id INT)", "RENAME TABLE u TO w", "DROP TABLE w", "CREATE VIEW w AS SELECT * FROM t",
		"ALTER VIEW w AS SELECT id FROM t", "CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE OR REPLACE FUNCTION f() RETURNS INT RETURN 2",
		"CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1", "CREATE OR REPLACE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 2",
		"CREATE TABLE `grüße #1` (id INT PRIMARY KEY)", "TRUNCATE `grüße #1`", "CREATE TABLE `Таблица` (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
		"TRUNCATE `Таблица`", "DROP TRIGGER ddb_1_ai"} {
		n.exec(s)
		look(true, s)
		look(false, "nothing after "+s)
	}
	n.exec("INSERT INTO t VALUES (1, 1, 1)")
	look(false, "INSERT")
}

// The second node on a database is told who has it.
func TestLockNamesHolder(t *testing.T) {
	n := newNode(t, dialect.Config{})
	release, err := n.eng.Lock(t.Context())
	n.ok(err)
	_, err = n.eng.Lock(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another ddb node") || !strings.Contains(err.Error(), n.eng.server.Databases()[0]) {
		t.Errorf("got %v", err)
	}
	n.ok(release())
}
