package snaps_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// A local write that comes while a schema entry is applied waits for its end and is exchanged, or is not done at all: a
// table that was just made has no triggers that would note it. So it is where the entry is cut off and applied again.
func TestSnapWritesDuringSchema(t *testing.T) {
	for name, cutOff := range map[string]bool{"whole": false, "cut off": true} {
		t.Run(name, func(t *testing.T) {
			d := &testcluster.HookDialect{Dialect: mysql.Dialect{}}
			s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{}, testcluster.PairSchema)
			a := s.Snap("a", ddb.Options{Dialect: d})
			s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0), (2, 2, 'two', 0)")
			s.Exchange("a")
			s.Cut("a")
			s.Exec("a", "UPDATE p SET v = 'pending' WHERE id = 2")
			s.Exec("master", "ALTER TABLE p ADD x VARCHAR(36) DEFAULT (UUID())") // followers make the table anew
			insert := func(ctx context.Context, id int) error {
				_, err := a.ExecContext(ctx, "INSERT INTO p (id, u, v, w) VALUES (?, ?, 'local', 0)", id, id)
				return err
			}
			var statements []string
			var written int // by those that did not wait for long
			later := make(chan error, 100)
			ran := func(statement string, run func() error) error {
				if err := run(); err != nil {
					return err
				}
				statements = append(statements, statement)
				n := len(statements)
				short, cancel := context.WithTimeout(s.Ctx, 50*time.Millisecond)
				defer cancel()
				if insert(short, 1000+n) == nil {
					written++
				}
				go func() { later <- insert(s.Ctx, 2000+n) }()
				if cutOff && n == 2 {
					return errors.New("cut off")
				}
				return nil
			}
			d.Run.Store(&ran)
			s.Heal("a")
			if cutOff {
				require.Eventually(t, func() bool { return s.States("a")["a"] == ddb.Failed }, testcluster.Patience, time.Millisecond)
			} else {
				s.Exchange("a")
			}
			d.Run.Store(nil)
			require.GreaterOrEqual(t, len(statements), 2, "the table was not made anew")
			for range statements {
				if <-later == nil {
					written++
				}
			}
			require.NotZero(t, written)
			if cutOff {
				s.Restart("a") // it tries again
			}
			s.Exchange("a")
			s.Same("p")
			require.Equal(t, fmt.Sprintf("[%d]", written), s.Rows("master", "SELECT COUNT(*) FROM p WHERE v = 'local'"))
		})
	}
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
	d, settle := &testcluster.HookDialect{Dialect: mysql.Dialect{}}, make(chan struct{})
	s := testcluster.NewShop(t, testcluster.MariaDB, ddb.Options{Dialect: d}, testcluster.PairSchema, "a")
	level := func() {
		s.Exec("master", "INSERT INTO mark VALUES (NULL)")
		want := s.Rows("master", "SELECT COUNT(*) FROM mark")
		require.Eventually(t, func() bool { return s.Rows("a", "SELECT COUNT(*) FROM mark") == want }, testcluster.Patience, time.Millisecond)
	}
	s.Exec("master", "CREATE TABLE mark (id INT AUTO_INCREMENT PRIMARY KEY)")
	s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0), (2, 2, 'two', 0), (3, 3, 'three', 0), (4, 4, 'four', 0)")
	s.Exchange("a")
	s.Cut("a")
	s.Exec("a", "UPDATE p SET v = 'pending'")
	s.Exec("master", "UPDATE p SET v = 'master' WHERE id = 2")
	s.Exec("master", "DELETE FROM p WHERE id = 3")
	held := func(ctx context.Context, p dialect.Purpose, begin func() error) error { // no batch is settled
		if p == dialect.Batch {
			select {
			case <-settle:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return begin()
	}
	d.Begin.Store(&held)
	s.Heal("a")
	level()
	if statement != "" {
		s.Exec("master", statement)
		level()
	}
	if restart {
		s.Restart("a")
	}
	s.Exec("master", "ALTER TABLE p RENAME TO q")
	level()
	s.Same("q")
	close(settle)
	s.Exchange("a")
	s.Same("q")
}
