package ddb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
)

// haltDialect is MariaDB's, with a hook after each schema statement.
type haltDialect struct {
	dialect.Dialect
	ran atomic.Pointer[func(statement string) error]
}

// snapEngine is what a snap needs of an engine whose writers are many.
type snapEngine interface {
	dialect.Engine
	Mark(transaction bool) string
	MostBytes() int
	DropBatches(ctx context.Context, q dialect.Querier, ids []int64) error
	CollectTransactions(ctx context.Context, q dialect.Querier, tables []*dialect.Table, most int, emit func(tx int, t *dialect.Table, r dialect.Row) error) ([]dialect.Notes, bool, error)
}

type haltEngine struct {
	snapEngine
	d *haltDialect
}

func (d *haltDialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	e, err := d.Dialect.Bind(ctx, db, cfg)
	if err != nil {
		return nil, err
	}
	return haltEngine{e.(snapEngine), d}, nil
}

func (e haltEngine) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	err := e.snapEngine.Run(ctx, c, s)
	if ran := e.d.ran.Load(); ran != nil && err == nil {
		err = (*ran)(s.SQL)
	}
	return err
}

// A local write that comes while a schema entry is applied waits for its end and is exchanged, or is not done at all: a
// table that was just made has no triggers that would note it. So it is where the entry is cut off and applied again.
func TestSnapWritesDuringSchema(t *testing.T) {
	for name, cutOff := range map[string]bool{"whole": false, "cut off": true} {
		t.Run(name, func(t *testing.T) {
			d := &haltDialect{Dialect: mysql.Dialect{}}
			s := newShop(t, mariadbEngine(t), ddb.Options{}, pairSchema)
			a := s.snap("a", ddb.Options{Dialect: d})
			s.exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0), (2, 2, 'two', 0)")
			s.exchange("a")
			s.cut("a")
			s.exec("a", "UPDATE p SET v = 'pending' WHERE id = 2")
			s.exec("master", "ALTER TABLE p ADD x VARCHAR(36) DEFAULT (UUID())") // followers make the table anew
			insert := func(ctx context.Context, id int) error {
				_, err := a.ExecContext(ctx, "INSERT INTO p (id, u, v, w) VALUES (?, ?, 'local', 0)", id, id)
				return err
			}
			var statements []string
			var written int // by those that did not wait for long
			later := make(chan error, 100)
			ran := func(statement string) error {
				statements = append(statements, statement)
				n := len(statements)
				short, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
				defer cancel()
				if insert(short, 1000+n) == nil {
					written++
				}
				go func() { later <- insert(s.ctx, 2000+n) }()
				if cutOff && n == 2 {
					return errors.New("cut off")
				}
				return nil
			}
			d.ran.Store(&ran)
			s.heal("a")
			if cutOff {
				require.Eventually(t, func() bool { return s.states("a")["a"] == ddb.Failed }, testPatience, time.Millisecond)
			} else {
				s.exchange("a")
			}
			d.ran.Store(nil)
			require.GreaterOrEqual(t, len(statements), 2, "the table was not made anew")
			for range statements {
				if <-later == nil {
					written++
				}
			}
			require.NotZero(t, written)
			if cutOff {
				s.restart("a") // it tries again
			}
			s.exchange("a")
			s.same("p")
			require.Equal(t, fmt.Sprintf("[%d]", written), s.rows("master", "SELECT COUNT(*) FROM p WHERE v = 'local'"))
		})
	}
}

// heldDialect is MariaDB's, with batches that are not settled while held is set.
type heldDialect struct {
	dialect.Dialect
	held atomic.Bool
}

type heldEngine struct {
	dialect.Engine
	d *heldDialect
}

func (d *heldDialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	e, err := d.Dialect.Bind(ctx, db, cfg)
	return heldEngine{e, d}, err
}

func (e heldEngine) Begin(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	for p == dialect.Batch && e.d.held.Load() {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return e.Engine.Begin(ctx, c, p)
}

// What the master has of rows that are pending on a snap, it has after a restart of the snap and after a schema statement
// too: it is that which is in a table when it is renamed, whose rows no outcome of the batch will put right.
func TestSnapMastersOfPending(t *testing.T) {
	for name, c := range map[string]struct {
		statement string
		restart   bool
	}{
		"restart":             {"", true},
		"emptied":             {"TRUNCATE TABLE p", false},
		"emptied, restart":    {"TRUNCATE TABLE p", true},
		"new column":          {"ALTER TABLE p ADD x INT DEFAULT 7", false},
		"new column, restart": {"ALTER TABLE p ADD x INT DEFAULT 7", true},
		"index, restart":      {"CREATE INDEX pv ON p (v)", true},
		"made anew, restart":  {"ALTER TABLE p ADD x VARCHAR(36) DEFAULT (UUID())", true},
	} {
		t.Run(name, func(t *testing.T) { mastersOfPending(t, c.statement, c.restart) })
	}
}

func mastersOfPending(t *testing.T, statement string, restart bool) {
	d := &heldDialect{Dialect: mysql.Dialect{}}
	s := newShop(t, mariadbEngine(t), ddb.Options{Dialect: d}, pairSchema, "a")
	level := func() {
		s.exec("master", "INSERT INTO mark VALUES (NULL)")
		want := s.rows("master", "SELECT COUNT(*) FROM mark")
		require.Eventually(t, func() bool { return s.rows("a", "SELECT COUNT(*) FROM mark") == want }, testPatience, time.Millisecond)
	}
	s.exec("master", "CREATE TABLE mark (id INT AUTO_INCREMENT PRIMARY KEY)")
	s.exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0), (2, 2, 'two', 0), (3, 3, 'three', 0), (4, 4, 'four', 0)")
	s.exchange("a")
	s.cut("a")
	s.exec("a", "UPDATE p SET v = 'pending'")
	s.exec("master", "UPDATE p SET v = 'master' WHERE id = 2")
	s.exec("master", "DELETE FROM p WHERE id = 3")
	d.held.Store(true)
	s.heal("a")
	level()
	if statement != "" {
		s.exec("master", statement)
		level()
	}
	if restart {
		s.restart("a")
	}
	s.exec("master", "ALTER TABLE p RENAME TO q")
	level()
	s.same("q")
	d.held.Store(false)
	s.exchange("a")
	s.same("q")
}
