package testdb

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
)

func TestMain(m *testing.M) { Main(m) }

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func queryString(t *testing.T, db *sql.DB, query string) (v string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// A committed row outlives SIGKILL, an orderly stop, and the restarts after each.
func TestKillAndStart(t *testing.T) {
	s := MariaDB(t)
	s.CreateDatabase(t, "shop")
	db := s.Open(t, "shop")
	mustExec(t, db, "CREATE TABLE t (id INT PRIMARY KEY)")
	for i, end := range []func(){s.Kill, s.Stop} {
		mustExec(t, db, "INSERT INTO t VALUES (?)", i)
		pid := s.Pid()
		end()
		if s.Pid() != 0 {
			t.Fatalf("Pid = %d after the end", s.Pid())
		}
		if err := db.PingContext(t.Context()); err == nil {
			t.Fatal("the server answers after its end")
		}
		end() // of a server that is down: nothing
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if s.Pid() == pid || s.Pid() == 0 {
			t.Fatalf("Pid = %d after the start, was %d", s.Pid(), pid)
		}
		if got := queryString(t, db, "SELECT COUNT(*) FROM t"); got != strconv.Itoa(i+1) {
			t.Fatalf("%s rows, want %d", got, i+1)
		}
	}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Fatalf("Start of a running server: %v", err)
	}
}

// Extra flags win over testdb's own, and each server has its own data.
func TestExtraFlags(t *testing.T) {
	a := MariaDB(t, "--max-connections=17", "--log-bin=bin", "--server-id=3")
	b := MariaDB(t)
	if got := queryString(t, a.Open(t, ""), "SELECT @@max_connections"); got != "17" {
		t.Errorf("max_connections = %s, want 17", got)
	}
	// A fresh binary log must hold nothing of testdb's own statements.
	events, err := a.Open(t, "").QueryContext(t.Context(), "SHOW BINLOG EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	for events.Next() {
		var file, kind, info string
		var pos, id, end int64
		if err := events.Scan(&file, &pos, &kind, &id, &end, &info); err != nil {
			t.Fatal(err)
		}
		if kind == "Query" || strings.Contains(info, "USER") {
			t.Errorf("binary log holds %s %q", kind, info)
		}
	}
	if err := events.Err(); err != nil {
		t.Fatal(err)
	}
	a.CreateDatabase(t, "only_a")
	err = b.Open(t, "only_a").PingContext(t.Context())
	if e, ok := errors.AsType[*mysql.MySQLError](err); !ok || e.Number != 1049 {
		t.Errorf("database of the other server: %v, want unknown database", err)
	}
	if err := b.Open(t, "").QueryRowContext(t.Context(), "SELECT 1 WHERE @@innodb_flush_log_at_trx_commit = 1").Scan(new(int)); err != nil {
		t.Errorf("log not synced at commit: %v", err)
	}
}

// A flag that mariadbd refuses gives an error with its own words and leaves nothing behind.
func TestBadFlag(t *testing.T) {
	NotQuick(t, requireMariaDB, "MariaDB")
	if _, err := findInstallation(); err != nil {
		skipOrFail(t, err)
	}
	t.Setenv("TMPDIR", mkdirShort(t))
	s, err := StartMariaDB("--no-such-flag=1")
	if err == nil {
		s.Remove()
		t.Fatal("started")
	}
	if !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("error does not name the flag: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "ddb*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func mkdirShort(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// The server is open to its password only.
func TestCredentials(t *testing.T) {
	s := SharedMariaDB(t)
	for _, dsn := range []string{
		"root@tcp(" + address(s.Port()) + ")/",
		"@tcp(" + address(s.Port()) + ")/",
		s.User() + ":wrong@tcp(" + address(s.Port()) + ")/",
	} {
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.PingContext(t.Context())
		if e, ok := errors.AsType[*mysql.MySQLError](err); !ok || e.Number != 1045 && e.Number != 1698 {
			t.Errorf("%s: %v, want access denied", strings.SplitN(dsn, "@", 2)[0], err)
		}
	}
}

// URL and DSN name the same server, database and user.
func TestURL(t *testing.T) {
	s := SharedMariaDB(t)
	name := s.NewDatabase(t)
	u, err := url.Parse(s.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	cfg, err := mysql.ParseDSN(s.DSN(name, "parseTime=true"))
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "mysql" || u.Host != cfg.Addr || u.User.Username() != cfg.User ||
		password != cfg.Passwd || u.Path != "/"+cfg.DBName || !cfg.ParseTime || cfg.DBName != name {
		t.Errorf("URL %v does not match DSN of %s at %s", u.Redacted(), cfg.DBName, cfg.Addr)
	}
	if u.User.Username() != s.User() || password != s.Password() || u.Port() != strconv.Itoa(s.Port()) {
		t.Errorf("URL %v does not match the server", u.Redacted())
	}
}

// Tests that run side by side get databases of their own on one server, dropped at their end.
func TestSharedDatabases(t *testing.T) {
	s := SharedMariaDB(t)
	var mu sync.Mutex
	names := map[string]bool{}
	t.Run("group", func(t *testing.T) {
		for range 8 {
			t.Run("Same name, with ünusual `signs` "+strings.Repeat("x", 80), func(t *testing.T) {
				t.Parallel()
				if SharedMariaDB(t) != s {
					t.Error("another server")
				}
				name := s.NewDatabase(t)
				mustExec(t, s.Open(t, name), "CREATE TABLE t (id INT PRIMARY KEY)")
				mustExec(t, s.Open(t, name), "CREATE DATABASE "+quote(name+"_ddb"))
				mu.Lock()
				defer mu.Unlock()
				names[name] = true
			})
		}
	})
	if len(names) != 8 {
		t.Errorf("%d names, want 8: %v", len(names), names)
	}
	if n := queryString(t, s.Open(t, ""), "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 't%same%'"); n != "0" {
		t.Errorf("%s databases left", n)
	}
}

// Names are valid whatever the test is called.
func TestDatabaseName(t *testing.T) {
	for test, want := range map[string]string{
		"TestX":                          "t7_testx",
		"TestX/a b`c":                    "t7_testx_a_b_c",
		"Test" + strings.Repeat("y", 99): "t7_test" + strings.Repeat("y", 53),
		"Test/__":                        "t7_test",
	} {
		if got := databaseName(7, test); got != want || len(got) > 60 {
			t.Errorf("databaseName(%q) = %q, want %q", test, got, want)
		}
	}
}

// Servers that are wanted at once, with no template yet, all start.
func TestTemplateRace(t *testing.T) {
	NotQuick(t, requireMariaDB, "MariaDB")
	inst, err := findInstallation()
	if err != nil {
		skipOrFail(t, err)
	}
	cache := t.TempDir()
	dir := filepath.Join(cache, "template")
	const servers = 4
	errs := make(chan error, servers)
	for range servers {
		go func() { errs <- inst.createTemplate(cache, dir) }()
	}
	for range servers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 1 || entries[0].Name() != "template" {
		t.Errorf("cache holds %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ibdata1")); err != nil {
		t.Error(err)
	}
}

// Without MariaDB a test is skipped, or fails where MariaDB is required.
func TestNotInstalled(t *testing.T) {
	for _, require := range []string{"", "1"} {
		t.Setenv("DDB_REQUIRE_MARIADB", require)
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { // skip and fatal end the goroutine
			defer close(done)
			skipOrFail(r, ErrNotInstalled)
		}()
		<-done
		if want := map[string]string{"": "skip", "1": "fatal"}[require]; r.outcome != want {
			t.Errorf("DDB_REQUIRE_MARIADB=%q: %q, want %q", require, r.outcome, want)
		}
	}
}

// recorder notes how a test would have ended.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Skip(...any)  { r.end("skip") }
func (r *recorder) Fatal(...any) { r.end("fatal") }
func (r *recorder) end(outcome string) {
	if r.outcome == "" {
		r.outcome = outcome
	}
}

// The SQLite file has the settings that replication is tested with, on every connection.
func TestSQLite(t *testing.T) {
	path, db := SQLite(t)
	mustExec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	for range 3 {
		conn, err := db.Conn(t.Context()) // held, so that each is a new connection
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "foreign_keys": "1",
		} {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s = %q, %v, want %q", pragma, got, err, want)
			}
		}
	}
	if got := queryString(t, OpenSQLite(t, path), "SELECT COUNT(*) FROM t"); got != "0" {
		t.Errorf("second handle sees %s rows", got)
	}
}

// A path with signs that mean something in a URL names the file of that name.
func TestSQLitePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20?c#d.db")
	mustExec(t, OpenSQLite(t, path), "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// Kill during a start ends the wait with an error instead of the full timeout.
func TestKillWhileStarting(t *testing.T) {
	s := MariaDB(t)
	s.Kill()
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() {
		defer cancel()
		started <- s.Start()
	}()
	for ctx.Err() == nil && s.Pid() == 0 {
		runtime.Gosched() // until the process exists there is nothing to kill
	}
	s.Kill()
	if err := <-started; err == nil && s.Pid() != 0 {
		t.Error("runs after Kill")
	}
	if err := s.Start(); err != nil {
		t.Error(err)
	}
}
