package testdb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	startTimeout = 2 * time.Minute // a loaded machine under the race detector
	stopTimeout  = time.Minute     // orderly shutdown, before SIGKILL
	pollInterval = 20 * time.Millisecond
	queryTimeout = 30 * time.Second // CREATE and DROP DATABASE
	portTries    = 10               // the port may be taken between choice and bind
	logTailBytes = 16 << 10
	userName     = "ddb"
)

// errPortTaken says that mariadbd could not bind its port.
var errPortTaken = errors.New("port is taken")

// Server is a private mariadbd on 127.0.0.1 with its own data directory.
// Its address and credentials stay the same when it is killed and started
// again. All methods may be called concurrently.
type Server struct {
	binary   string
	dir      string // holds data/, error.log, init.sql and the socket
	extra    []string
	port     int
	password string

	databases atomic.Int64 // numbers the names given by NewDatabase

	mu      sync.Mutex
	proc    *process // nil before the first start
	removed bool
}

// MariaDB starts a server that belongs to tb and removes it with its data when
// tb ends. The extra flags are given to mariadbd after testdb's own, so they
// win; address, port, socket and data directory must stay as they are.
//
// The server syncs its log at each commit, has a buffer pool of 128 MiB, the
// character set utf8mb4 as on Debian, and MariaDB's defaults for the rest:
// no binary log, max_allowed_packet 16 MiB.
func MariaDB(tb testing.TB, extra ...string) *Server {
	tb.Helper()
	NotQuick(tb, requireMariaDB, "MariaDB")
	s, err := StartMariaDB(extra...)
	if err != nil {
		skipOrFail(tb, err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("error log of the MariaDB server on port %d:\n%s", s.port, s.ErrorLog())
		}
		if err := s.Remove(); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	return s
}

// StartMariaDB is [MariaDB] for callers that have no testing.TB, such as
// TestMain. The caller ends the server with [Server.Remove]. The error is
// [ErrNotInstalled] when the machine has no MariaDB.
func StartMariaDB(extra ...string) (*Server, error) {
	inst, err := findInstallation()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(shortTempDir(), "ddb")
	if err != nil {
		return nil, fmt.Errorf("testdb: %w", err)
	}
	s := &Server{
		binary:   inst.server,
		dir:      dir,
		extra:    extra,
		password: "secret" + rand.Text(),
	}
	if err := s.firstStart(inst); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

// NotQuick skips tb in the quick loop, which starts no server and no browser: under -short, unless the environment variable
// named require is 1. what names what the test needs.
func NotQuick(tb testing.TB, require, what string) {
	tb.Helper()
	if testing.Short() && os.Getenv(require) != "1" {
		tb.Skipf("-short starts no %s: leave it out, or set %s=1", what, require)
	}
}

const requireMariaDB = "DDB_REQUIRE_MARIADB"

// skipOrFail ends tb: by a skip when MariaDB is missing and not required.
func skipOrFail(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, ErrNotInstalled) && os.Getenv(requireMariaDB) != "1" {
		tb.Skip(err)
	}
	tb.Fatal(err)
}

// shortTempDir returns a folder whose name leaves room for a socket: the path
// of a unix socket is limited to about 100 bytes.
func shortTempDir() string {
	if dir := os.TempDir(); len(dir) <= 60 {
		return dir
	}
	return "/tmp"
}

// firstStart fills the data directory, makes the user and finds a port.
func (s *Server) firstStart(inst installation) error {
	if err := inst.copyDataDir(filepath.Join(s.dir, "data")); err != nil {
		return err
	}
	// The user must not appear in a binary log that the extra flags turn on.
	init := fmt.Sprintf("SET sql_log_bin = 0;\nCREATE USER '%s'@'%%' IDENTIFIED BY '%s';\n"+
		"GRANT ALL PRIVILEGES ON *.* TO '%s'@'%%' WITH GRANT OPTION;\n", userName, s.password, userName)
	initFile := filepath.Join(s.dir, "init.sql")
	if err := os.WriteFile(initFile, []byte(init), 0o600); err != nil {
		return fmt.Errorf("testdb: %w", err)
	}
	var err error
	for range portTries {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.start("--init-file=" + initFile); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

// freePort returns a port on 127.0.0.1 that is free now. It lies below the
// range from which Linux takes the ports of outgoing connections, so that no
// such connection sits on it while the server is down between Kill and Start.
func freePort() (int, error) {
	const first, count = 20000, 12000
	var err error
	for range 100 {
		var b [2]byte
		rand.Read(b[:])
		port := first + (int(b[0])<<8|int(b[1]))%count
		var l net.Listener
		if l, err = net.Listen("tcp", address(port)); err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, fmt.Errorf("testdb: no free port: %w", err)
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Start starts the server again, on the same data and port, after Kill or
// Stop, and returns when it answers. It is an error if the server runs.
func (s *Server) Start() error {
	var err error
	for range portTries {
		if err = s.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

func (s *Server) start(flags ...string) error {
	p, err := s.launch(flags)
	if err != nil {
		return err
	}
	if err := s.waitReady(p); err != nil {
		p.kill()
		if strings.Contains(p.log(), "Bind on TCP/IP port") {
			err = errPortTaken
		}
		return fmt.Errorf("testdb: MariaDB on port %d: %w\n%s", s.port, err, p.log())
	}
	return nil
}

// launch runs mariadbd; it does not wait for it to answer.
func (s *Server) launch(flags []string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return nil, errors.New("testdb: MariaDB: start: the server was removed")
	}
	if s.proc.running() {
		return nil, fmt.Errorf("testdb: MariaDB on port %d: start: it is running", s.port)
	}
	args := append(s.flags(), flags...)
	p, err := startProcess(s.binary, append(args, s.extra...), s.logPath())
	if err != nil {
		return nil, fmt.Errorf("testdb: MariaDB: %w", err)
	}
	s.proc = p
	return p, nil
}

func (s *Server) flags() []string {
	return append([]string{
		"--no-defaults", // must be the first
		"--datadir=" + filepath.Join(s.dir, "data"),
		"--socket=" + filepath.Join(s.dir, "s"),
		"--pid-file=" + filepath.Join(s.dir, "pid"),
		"--tmpdir=" + s.dir,
		"--skip-networking=0",
		"--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(s.port),
		"--skip-name-resolve",
		"--character-set-server=utf8mb4",
		"--collation-server=utf8mb4_general_ci",
		"--innodb-flush-log-at-trx-commit=1",
		"--innodb-buffer-pool-size=128M",
		"--innodb-buffer-pool-dump-at-shutdown=0",
		"--innodb-buffer-pool-load-at-startup=0",
		"--max-connections=300",
	}, userFlag()...)
}

// waitReady returns when p answers to this server's password, which no other
// server that might sit on the port knows.
func (s *Server) waitReady(p *process) error {
	connector, err := mysql.NewConnector(s.config("", "timeout=5s"))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil && p.running() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("mariadbd ended while starting: %v", p.exit)
		case <-ctx.Done():
			return fmt.Errorf("no answer within %v: %v", startTimeout, err)
		case <-tick.C:
		}
	}
}

// Kill ends the server at once with SIGKILL, as a crash would, and returns when
// it is gone. It does nothing when the server isn't running.
func (s *Server) Kill() {
	if p := s.process(); p != nil {
		p.kill()
	}
}

// Stop shuts the server down in good order and returns when it is gone. It does
// nothing when the server isn't running.
func (s *Server) Stop() {
	if p := s.process(); p != nil {
		p.stop(stopTimeout)
	}
}

// Remove kills the server and deletes its data. Servers of [MariaDB] and
// [SharedMariaDB] are removed without being asked.
func (s *Server) Remove() error {
	s.mu.Lock()
	s.removed = true
	s.mu.Unlock()
	s.Kill()
	return os.RemoveAll(s.dir)
}

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Pid returns the process id of the server, 0 when it isn't running.
func (s *Server) Pid() int {
	if p := s.process(); p.running() {
		return p.pid
	}
	return 0
}

// Port returns the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// User returns the name of a user with all privileges.
func (s *Server) User() string { return userName }

// Password returns the password of User. It is random, so a test may look for
// it where secrets must not appear.
func (s *Server) Password() string { return s.password }

func (s *Server) logPath() string { return filepath.Join(s.dir, "error.log") }

// ErrorLog returns the last 16 KiB of the server's error log, which goes on
// through restarts.
func (s *Server) ErrorLog() string { return tail(s.logPath(), 0) }

func (s *Server) config(database string, params ...string) *mysql.Config {
	cfg, err := mysql.ParseDSN(s.DSN(database, params...))
	if err != nil {
		panic(err) // the parameters are written in this package
	}
	return cfg
}

// DSN returns the data source name of a database for go-sql-driver/mysql, ""
// for none. Each of params is a name=value of the driver.
func (s *Server) DSN(database string, params ...string) string {
	dsn := fmt.Sprintf("%s:%s@tcp(%s)/%s", userName, s.password, address(s.port), url.PathEscape(database))
	if len(params) > 0 {
		dsn += "?" + strings.Join(params, "&")
	}
	return dsn
}

// URL returns mysql://USER:PASSWORD@HOST:PORT/DATABASE.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "mysql",
		User:   url.UserPassword(userName, s.password),
		Host:   address(s.port),
		Path:   "/" + database,
	}
	return u.String()
}

// Open returns a handle on a database, "" for none, that is closed when tb ends.
// It does not connect. Each of params is a name=value of the driver.
func (s *Server) Open(tb testing.TB, database string, params ...string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("mysql", s.DSN(database, params...))
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

// CreateDatabase creates a database and leaves it.
func (s *Server) CreateDatabase(tb testing.TB, name string) {
	tb.Helper()
	if err := s.exec("CREATE DATABASE " + quote(name)); err != nil {
		tb.Fatalf("testdb: create database: %v", err)
	}
}

// NewDatabase creates a database with a name that no other has on this server
// and drops it when tb ends, with the one that ddb keeps its own tables in: what
// the server knows of all tables is looked through again and again.
func (s *Server) NewDatabase(tb testing.TB) (name string) {
	tb.Helper()
	name = databaseName(s.databases.Add(1), tb.Name())
	s.CreateDatabase(tb, name)
	tb.Cleanup(func() {
		if s.Pid() == 0 {
			return // its data goes with the server
		}
		// A transaction left open must fail the test, not hang it.
		for _, name := range []string{name, name + "_ddb"} {
			if err := s.exec("SET STATEMENT lock_wait_timeout = 10 FOR DROP DATABASE IF EXISTS " + quote(name)); err != nil {
				tb.Errorf("testdb: drop database: %v", err)
			}
		}
	})
	return name
}

// databaseName makes a name of lower-case letters, digits and underscores, at
// most 60 bytes long: MariaDB's limit is 64, and ddb adds four of its own.
func databaseName(n int64, test string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(test))
	name := fmt.Sprintf("t%d_%s", n, clean)
	return strings.TrimRight(name[:min(len(name), 60)], "_")
}

func quote(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

func (s *Server) exec(statement string) error {
	connector, err := mysql.NewConnector(s.config(""))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	_, err = db.ExecContext(ctx, statement)
	return err
}
