package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/mysql"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/tcp"
)

// env is what the rows share: a folder, and two MariaDB servers that start when first needed.
type env struct {
	dir     string
	rounds  int
	quick   bool
	numbers atomic.Int64
	servers [2]*testdb.Server
}

func (e *env) close() {
	for _, s := range e.servers {
		if s != nil {
			s.Remove()
		}
	}
	os.RemoveAll(e.dir)
}

// scale returns the size of a load: full, or the quick one.
func (e *env) scale(full, quick int) int {
	if e.quick {
		return quick
	}
	return full
}

// database is a new, empty database.
type database struct {
	*sql.DB
	file   string         // SQLite
	server *testdb.Server // MariaDB
	name   string
}

func (d *database) close() error {
	err := d.DB.Close()
	if d.file != "" {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(d.file + suffix)
		}
	}
	return err
}

// engine makes databases; place 0 is for masters, 1 for replicas.
type engine func(e *env, place int) (*database, error)

// sqliteEngine makes a file with the settings that a program that cares for its data has.
func sqliteEngine(e *env, _ int) (*database, error) {
	path := filepath.Join(e.dir, fmt.Sprintf("%d.db", e.numbers.Add(1)))
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(path))
	if err != nil {
		return nil, err
	}
	return &database{DB: db, file: path}, db.Ping()
}

// mariadbEngine makes a database on a private server, which syncs its log at each commit.
func mariadbEngine(e *env, place int) (*database, error) {
	if e.servers[place] == nil {
		s, err := testdb.StartMariaDB()
		if err != nil {
			return nil, err
		}
		e.servers[place] = s
	}
	s := e.servers[place]
	admin, err := sql.Open("mysql", s.DSN(""))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	name := fmt.Sprintf("bench%d", e.numbers.Add(1))
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		return nil, err
	}
	db, err := sql.Open("mysql", s.DSN(name, "interpolateParams=true"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(40)
	db.SetMaxIdleConns(40)
	return &database{DB: db, server: s, name: name}, db.Ping()
}

// pair is a master with a database, and perhaps a replica that follows it over TCP.
type pair struct {
	master, replica *ddb.Cluster
	mdb, rdb        *database
	address         string
}

func logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: logLevel(), Output: os.Stderr})
}

// openMaster makes a master of a new database; setup runs on the bare database before ddb adopts it.
func openMaster(ctx context.Context, e *env, on engine, setup ...string) (*pair, error) {
	mdb, err := on(e, 0)
	if err != nil {
		return nil, err
	}
	p := &pair{mdb: mdb}
	for _, s := range setup {
		if _, err := mdb.ExecContext(ctx, s); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s, err), p.close())
		}
	}
	if p.address, err = freeAddress(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.master, err = ddb.Open(ctx, mdb.DB, ddb.Options{Listen: p.address, Transport: tcp.New(tcp.Options{}), Logger: logger()})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// freeAddress returns one on which nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// openReplica adds a replica, or brings the one back that was there.
func (p *pair) openReplica(ctx context.Context, e *env, on engine) (err error) {
	if p.rdb == nil {
		if p.rdb, err = on(e, 1); err != nil {
			return err
		}
	}
	p.replica, err = ddb.Open(ctx, p.rdb.DB, ddb.Options{ID: "r1", Role: ddb.Replica, Master: p.address, Transport: tcp.New(tcp.Options{}), Logger: logger()})
	return err
}

func openPair(ctx context.Context, e *env, on engine, setup ...string) (*pair, error) {
	p, err := openMaster(ctx, e, on, setup...)
	if err != nil {
		return nil, err
	}
	if err = p.openReplica(ctx, e, on); err == nil {
		err = p.replica.WaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) close() error {
	var err error
	if p.replica != nil {
		err = p.replica.Close()
	}
	if p.master != nil {
		err = errors.Join(err, p.master.Close())
	}
	if p.rdb != nil {
		err = errors.Join(err, p.rdb.close())
	}
	if p.mdb != nil {
		err = errors.Join(err, p.mdb.close())
	}
	return err
}

// logLevel is that of the environment variable BENCH_LOG, or none.
func logLevel() hclog.Level {
	if l := hclog.LevelFromString(os.Getenv("BENCH_LOG")); l != hclog.NoLevel {
		return l
	}
	return hclog.Off
}
