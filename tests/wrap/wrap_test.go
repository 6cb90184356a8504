package wrap_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/mysql"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mocked is a Cluster over a mocked master and two mocked replicas.
type mocked struct {
	c       *ddb.Cluster
	checker *ddb.FixedChecker
	master  sqlmock.Sqlmock
	a, b    sqlmock.Sqlmock
}

func newMocked(t *testing.T, opts ddb.Options) *mocked {
	t.Helper()
	open := func() (*sql.DB, sqlmock.Sqlmock) {
		db, mock, err := sqlmock.New(sqlmock.QueryMatcherOption(sqlmock.QueryMatcherEqual))
		require.NoError(t, err)
		mock.MatchExpectationsInOrder(false)
		t.Cleanup(func() { db.Close() })
		return db, mock
	}
	m := &mocked{checker: new(ddb.FixedChecker)}
	mdb, mm := open()
	adb, ma := open()
	bdb, mb := open()
	m.master, m.a, m.b = mm, ma, mb
	m.checker.Set("a", ddb.Report{}, nil)
	m.checker.Set("b", ddb.Report{}, nil)
	c, err := ddb.Wrap(t.Context(), mdb, map[string]*sql.DB{"a": adb, "b": bdb}, m.checker, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	m.c = c
	return m
}

func expectOne(m sqlmock.Sqlmock, query string) {
	m.ExpectQuery(query).WillReturnRows(sqlmock.NewRows([]string{"n"}).AddRow(1))
}

func readOne(t *testing.T, c *ddb.Cluster, ctx context.Context, query string) {
	t.Helper()
	rows, err := c.QueryContext(ctx, query)
	require.NoError(t, err)
	require.NoError(t, rows.Close())
}

// Reads take turns among the replicas; the master sees none of them.
func TestWrapSpreadsReads(t *testing.T) {
	m := newMocked(t, ddb.Options{})
	expectOne(m.a, "SELECT 1")
	expectOne(m.b, "SELECT 1")
	readOne(t, m.c, t.Context(), "SELECT 1")
	readOne(t, m.c, t.Context(), "SELECT 1")
	require.NoError(t, m.a.ExpectationsWereMet())
	require.NoError(t, m.b.ExpectationsWereMet())
}

// A row takes one turn of the picker, as rows do.
func TestWrapSpreadsRows(t *testing.T) {
	m := newMocked(t, ddb.Options{})
	expectOne(m.a, "SELECT 1")
	expectOne(m.b, "SELECT 1")
	for range 2 {
		var n int
		require.NoError(t, m.c.QueryRow("SELECT 1").Scan(&n))
	}
	require.NoError(t, m.a.ExpectationsWereMet())
	require.NoError(t, m.b.ExpectationsWereMet())
}

// What is not plainly a read goes to the master, and so do reads that must be strong.
func TestWrapMaster(t *testing.T) {
	m := newMocked(t, ddb.Options{})
	m.master.ExpectExec("INSERT INTO t VALUES (1)").WillReturnResult(sqlmock.NewResult(7, 1))
	res, err := m.c.Exec("INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	id, err := res.LastInsertId()
	require.NoError(t, err)
	require.EqualValues(t, 7, id)
	expectOne(m.master, "SELECT 1 FOR UPDATE")
	readOne(t, m.c, t.Context(), "SELECT 1 FOR UPDATE")
	expectOne(m.master, "SELECT 2")
	readOne(t, m.c, ddb.WithConsistency(t.Context(), ddb.Strong), "SELECT 2")
	// Replicas of somebody else may not show the write yet; this caller must see it.
	expectOne(m.master, "SELECT 3")
	readOne(t, m.c, t.Context(), "SELECT 3")
	require.NoError(t, m.master.ExpectationsWereMet())
}

// A read that fails with its node is tried once elsewhere, and the node is left alone for a while.
func TestWrapFailedReadMovesOn(t *testing.T) {
	m := newMocked(t, ddb.Options{Picker: first{}})
	m.a.ExpectQuery("SELECT 1").WillReturnError(mysql.ErrInvalidConn)
	m.b.ExpectQuery("SELECT 1").WillReturnError(mysql.ErrInvalidConn)
	_, err := m.c.Query("SELECT 1")
	require.ErrorIs(t, err, mysql.ErrInvalidConn)
	expectOne(m.a, "SELECT 2")
	expectOne(m.b, "SELECT 2")
	readOne(t, m.c, t.Context(), "SELECT 2")
	// Of the two replicas, the second served: the first is out.
	require.True(t, (m.a.ExpectationsWereMet() == nil) != (m.b.ExpectationsWereMet() == nil))
}

// A statement that is wrong is wrong everywhere: it is not tried again.
func TestWrapStatementErrorStays(t *testing.T) {
	m := newMocked(t, ddb.Options{})
	wrong := &mysql.MySQLError{Number: 1146, Message: "Table 't' doesn't exist"}
	m.a.ExpectQuery("SELECT 1").WillReturnError(wrong)
	m.b.ExpectQuery("SELECT 1").WillReturnError(wrong)
	_, err := m.c.Query("SELECT 1")
	var my *mysql.MySQLError
	require.ErrorAs(t, err, &my)
	require.EqualValues(t, 1146, my.Number)
	require.True(t, (m.a.ExpectationsWereMet() == nil) != (m.b.ExpectationsWereMet() == nil))
}

// A write is never sent twice, even if the connection breaks.
func TestWrapWriteOnce(t *testing.T) {
	m := newMocked(t, ddb.Options{})
	m.master.ExpectExec("UPDATE t SET a=1").WillReturnError(mysql.ErrInvalidConn)
	_, err := m.c.Exec("UPDATE t SET a=1")
	require.ErrorIs(t, err, mysql.ErrInvalidConn)
	require.NoError(t, m.master.ExpectationsWereMet())
}

// An unknown lag counts as unhealthy; lag beyond the limit leaves the floor serving; recovery is seen.
func TestWrapHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		m := newMocked(t, ddb.Options{MaxLag: time.Second, OnHealth: func(s ddb.NodeStatus) {
			changes = append(changes, s.ID+" "+string(s.State))
		}})
		state := func(id string) ddb.NodeStatus {
			for _, s := range m.c.Nodes() {
				if s.ID == id {
					return s
				}
			}
			return ddb.NodeStatus{}
		}
		beat := func() { time.Sleep(1100 * time.Millisecond); synctest.Wait() }
		m.checker.Set("a", ddb.Report{Lag: ddb.LagUnknown}, nil)
		m.checker.Set("b", ddb.Report{Lag: 5 * time.Second}, nil)
		beat()
		require.Equal(t, ddb.Inactive, state("a").State)
		require.Contains(t, state("a").Reason, "lag is unknown")
		require.Equal(t, ddb.Lagging, state("b").State)
		expectOne(m.b, "SELECT 1") // the floor: one node serves although it lags
		readOne(t, m.c, t.Context(), "SELECT 1")
		m.checker.Set("b", ddb.Report{Lag: ddb.LagUnknown}, errors.New("refused"))
		beat()
		expectOne(m.master, "SELECT 2")
		readOne(t, m.c, t.Context(), "SELECT 2")
		m.checker.Set("a", ddb.Report{}, nil)
		beat()
		expectOne(m.a, "SELECT 3")
		readOne(t, m.c, t.Context(), "SELECT 3")
		require.Contains(t, changes, "a inactive")
		require.Contains(t, changes, "a active")
		require.NoError(t, m.c.Close())
	})
}

// A node in maintenance gets no reads until it is let back in.
func TestWrapMaintain(t *testing.T) {
	m := newMocked(t, ddb.Options{})
	require.NoError(t, m.c.Maintain("a", true))
	for range 3 {
		expectOne(m.b, "SELECT 1")
		readOne(t, m.c, t.Context(), "SELECT 1")
	}
	require.NoError(t, m.c.Maintain("a", false))
	require.Error(t, m.c.Maintain("nobody", true))
	require.NoError(t, m.b.ExpectationsWereMet())
}

// Bounded staleness takes the nodes within the bound only.
func TestWrapMaxStaleness(t *testing.T) {
	m := newMocked(t, ddb.Options{MaxLag: time.Minute})
	m.checker.Set("a", ddb.Report{Lag: 20 * time.Second}, nil)
	require.Eventually(t, func() bool {
		for _, s := range m.c.Nodes() {
			if s.ID == "a" {
				return s.Lag == 20*time.Second
			}
		}
		return false
	}, 10*time.Second, 10*time.Millisecond)
	for range 3 {
		expectOne(m.b, "SELECT 1")
		readOne(t, m.c, ddb.WithMaxStaleness(t.Context(), 5*time.Second), "SELECT 1")
	}
}

// After a write the master is read although the only replica lags and the floor would keep it.
func TestWrapFloorAfterWrite(t *testing.T) {
	m := newMocked(t, ddb.Options{Heartbeat: 10 * time.Millisecond, MaxLag: time.Second, Floor: 2})
	m.checker.Set("a", ddb.Report{Lag: time.Minute}, nil)
	m.checker.Set("b", ddb.Report{Lag: time.Minute}, nil)
	for _, changed := m.c.Watch(); ; _, changed = m.c.Watch() {
		if nodes := m.c.Nodes(); nodes[1].State == ddb.Lagging && nodes[2].State == ddb.Lagging {
			break
		}
		<-changed
	}
	m.master.ExpectExec("UPDATE t SET n = 1").WillReturnResult(sqlmock.NewResult(0, 1))
	_, err := m.c.Exec("UPDATE t SET n = 1")
	require.NoError(t, err)
	expectOne(m.master, "SELECT n FROM t")
	readOne(t, m.c, t.Context(), "SELECT n FROM t")
}

// A program that is slow to take a change of health keeps no read from being routed by what has come since; all changes
// reach it in order, those too that wait when the Cluster closes.
func TestSlowOnHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told []string
		m := newMocked(t, ddb.Options{MaxLag: time.Second, OnHealth: func(s ddb.NodeStatus) {
			<-release
			told = append(told, fmt.Sprint(s.ID, " ", s.State))
		}})
		beat := func() { time.Sleep(1100 * time.Millisecond); synctest.Wait() }
		for _, node := range []string{"a", "b"} {
			m.checker.Set(node, ddb.Report{Lag: ddb.LagUnknown}, nil)
			beat()
		}
		expectOne(m.master, "SELECT 1")
		readOne(t, m.c, t.Context(), "SELECT 1")
		m.checker.Set("b", ddb.Report{}, nil)
		beat()
		expectOne(m.b, "SELECT 2")
		readOne(t, m.c, t.Context(), "SELECT 2")
		require.Empty(t, told)
		go func() { time.Sleep(time.Second); close(release) }()
		require.NoError(t, m.c.Close())
		require.Equal(t, []string{"a inactive", "b inactive", "b active"}, told[len(told)-3:])
	})
}

// first is a picker of the program's own.
type first struct{}

func (first) Pick([]ddb.Candidate) int { return 0 }
