package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	_ "github.com/ddb-project/ddb/dialect/mysql"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
)

const (
	connectTimeout = 10 * time.Second
	maxConns       = 64 // to MariaDB, whose own limit is 151 by default
)

// Errors of MariaDB and MySQL that a command line can cause.
const (
	errAccessDenied   = 1045
	errDatabaseDenied = 1044
	errNoDatabase     = 1049
)

// OpenDB opens the database that a --db flag names and checks that it answers:
//
//	sqlite:PATH                         a file, created with its folder, for its owner alone, if missing
//	mysql://USER@HOST:PORT/DATABASE     MariaDB or MySQL
//
// The password is taken from the environment variable DDB_DB_PASSWORD; one in the URL counts first, but
// the whole machine sees it. No error holds the password.
func OpenDB(ctx context.Context, flag string) (*sql.DB, error) {
	scheme, rest, _ := strings.Cut(flag, ":")
	var db *sql.DB
	var err error
	switch scheme {
	case "sqlite":
		db, err = openSQLite(rest)
	case "mysql", "mariadb":
		db, err = openMySQL(flag)
	default:
		// The value itself may hold a password, so it is not repeated.
		return nil, Usage("--db has no known scheme: use sqlite:PATH or mysql://USER@HOST:PORT/DATABASE with the password in DDB_DB_PASSWORD")
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(explainDB(flag, err), db.Close())
	}
	return db, nil
}

// openSQLite sets the file up for one writer, many readers and a disk sync per commit.
func openSQLite(path string) (*sql.DB, error) {
	path, query, _ := strings.Cut(path, "?")
	path = strings.TrimPrefix(path, "//")
	if path == "" || query != "" {
		return nil, Usage("--db sqlite: wants the path of a file and nothing else, for example sqlite:ddb-data/master.db")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("--db sqlite:%s: cannot create its folder: %w", path, err)
	}
	if err := makePrivate(path); err != nil {
		return nil, fmt.Errorf("--db sqlite:%s: %w", path, err)
	}
	pragmas := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+pragmas.Encode())
}

// makePrivate creates the file of a database that does not exist yet, empty, for its owner alone: SQLite would let
// others of the machine read it. Files that stand beside it get the same mode from SQLite. One that exists stays as it is.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func openMySQL(flag string) (*sql.DB, error) {
	cfg, err := mysqlConfig(flag)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("--db %s: %w", Redact(flag), err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

// mysqlConfig translates the URL for the driver.
func mysqlConfig(flag string) (*mysql.Config, error) {
	u, err := url.Parse(flag)
	if err != nil {
		// url's error repeats what it could not parse, password and all.
		return nil, Usage("--db is not a URL of the form mysql://USER@HOST:PORT/DATABASE; give the password in DDB_DB_PASSWORD, or write special characters of the password as %%XX")
	}
	if u.User == nil || strings.Contains(u.Host+u.Path+u.RawQuery+u.Fragment, "@") {
		// A /, ?, # or @ in the password has cut it in two: what looks like the host may be a piece of it.
		return nil, Usage("--db %s wants a user before the host, and special characters of the password as %%XX or the password in DDB_DB_PASSWORD: mysql://USER@HOST:PORT/DATABASE", Redact(flag))
	}
	cfg := mysql.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	if cfg.Passwd == "" {
		cfg.Passwd = os.Getenv("DDB_DB_PASSWORD")
	}
	cfg.Net, cfg.Addr = "tcp", hostPort(u)
	cfg.DBName = strings.Trim(u.Path, "/")
	cfg.Timeout = connectTimeout
	cfg.Logger = &mysql.NopLogger{} // what it would print comes back as errors too
	if cfg.User == "" || u.Hostname() == "" || cfg.DBName == "" || u.RawQuery != "" {
		return nil, Usage("--db %s wants a user, a host and a database: mysql://USER@HOST:PORT/DATABASE", Redact(flag))
	}
	return cfg, nil
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "3306")
	}
	return u.Host
}

// Redact returns a --db value without its password, also if it is not the URL that it should be: a password may hold
// any character, so all counts as one up to the last @, and without an @ nothing is sure to be none.
func Redact(flag string) string {
	scheme, rest, _ := strings.Cut(flag, ":")
	if scheme == "sqlite" {
		return flag
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return scheme + ":…"
	}
	user, _, secret := strings.Cut(strings.TrimLeft(rest[:at], "/"), ":")
	switch {
	case strings.ContainsAny(user, "/?#@"):
		user = "…"
	case secret:
		user += ":xxxxx"
	}
	where, _, _ := strings.Cut(rest[at:], "?")
	return scheme + "://" + user + where
}

// explainDB says what to change when the database does not answer.
func explainDB(flag string, err error) error {
	where := "--db " + Redact(flag)
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		switch server.Number {
		case errAccessDenied:
			return fmt.Errorf("%s: the server refuses this user or password; check both, the password may also come from DDB_DB_PASSWORD: %w", where, err)
		case errDatabaseDenied, errNoDatabase:
			return fmt.Errorf("%s: no such database for this user; create it and grant it, or name another: %w", where, err)
		}
	}
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: nobody listens there; is the server up, and are host and port right? %w", where, err)
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: the server cannot be reached; check host and port: %w", where, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}
