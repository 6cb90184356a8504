package apply_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// open returns an applier of a replica on an empty SQLite database.
func open(t *testing.T) (*store.Store, *apply.Applier) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "r.db"))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	n, err := store.Open(t.Context(), db, store.Config{ID: "r", Role: health.Replica, Logger: hclog.NewNullLogger()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Unlock()) })
	a, err := apply.New(t.Context(), n, apply.Config{Role: health.Replica})
	require.NoError(t, err)
	t.Cleanup(a.Close)
	return n, a
}

// rowsOfT are rows of a table of which the database has none.
func rowsOfT() *journal.Change {
	return &journal.Change{Database: "d", Table: "t", Columns: []string{"id", "v"}, Key: []int{0}, Present: 1, Rows: wire.AppendRow(nil, []any{int64(1), nil})}
}

// What a master sends at a moment at which none sends it is refused, and ends nothing.
func TestUnexpectedPieces(t *testing.T) {
	rows := func(a *apply.Applier) error {
		return a.TakeRows(t.Context(), &apply.Rows{Change: rowsOfT()})
	}
	file := func(a *apply.Applier) error { return a.TakeFile([]byte("SQLite format 3")) }
	end := func(a *apply.Applier) error { return a.EndSnapshot(t.Context(), 3) }
	entry := func(a *apply.Applier) error { return a.Parts(t.Context(), []journal.Part{{LSN: 1, Final: true}}) }
	begin := func(head link.SnapshotHead) func(*apply.Applier) error {
		return func(a *apply.Applier) error { return a.BeginSnapshot(t.Context(), head) }
	}
	base := journal.Position{Epoch: 1, LSN: 7}
	for name, messages := range map[string][]func(*apply.Applier) error{
		"rows without a snapshot":       {rows},
		"a file without a snapshot":     {file},
		"an end without a snapshot":     {end},
		"rows in the place of a file":   {begin(link.SnapshotHead{Base: base, File: true}), rows},
		"a file in the place of rows":   {begin(link.SnapshotHead{Base: base}), file},
		"no file":                       {begin(link.SnapshotHead{Base: base, File: true}), end},
		"an entry in a snapshot":        {begin(link.SnapshotHead{Base: base}), entry},
		"what was never begun":          {begin(link.SnapshotHead{Base: base, Resume: true})},
		"another than that was begun":   {begin(link.SnapshotHead{Base: base}), begin(link.SnapshotHead{Base: journal.Position{Epoch: 1, LSN: 8}, Resume: true})},
		"a snapshot that is ended once": {begin(link.SnapshotHead{Base: base}), end, end},
	} {
		t.Run(name, func(t *testing.T) {
			_, a := open(t)
			var err error
			for i, send := range messages {
				if err = send(a); i < len(messages)-1 {
					require.NoError(t, err)
				}
			}
			require.ErrorIs(t, err, fault.ErrDamaged)
		})
	}
}

// recorder is a Local, and each Stay of it, that notes what it is told and does what a node does that writes nothing itself.
type recorder struct {
	n     *store.Store
	calls []string
	fails string // the call that fails
}

var errRefused = errors.New("refused by the test")

func (r *recorder) note(call string) error {
	r.calls = append(r.calls, call)
	if call == r.fails {
		return errRefused
	}
	return nil
}

func (r *recorder) Enter(context.Context) (apply.Stay, error) {
	if err := r.note("enter"); err != nil {
		return nil, err
	}
	return r, nil
}
func (r *recorder) Emptied()                                        { r.note("emptied") }
func (r *recorder) TablesMade(context.Context, *sql.Conn) error     { return r.note("tables made") }
func (r *recorder) Opened(context.Context, *sql.Conn) error         { return r.note("opened") }
func (r *recorder) Restored(context.Context, *sql.Conn, bool) error { return r.note("restored") }
func (r *recorder) Includes(context.Context, *sql.Conn, map[string]uint64) error {
	return r.note("includes")
}

func (r *recorder) Write(ctx context.Context, c *sql.Conn, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	if err := r.note("write " + t.Name); err != nil {
		return err
	}
	return r.n.Engine.Apply(ctx, c, t, rows, mode)
}

func (r *recorder) Schema(_ context.Context, _ *sql.Conn, _ []dialect.Statement, run func() error) error {
	if err := r.note("schema"); err != nil {
		return err
	}
	return run()
}

func (r *recorder) Leave(committed bool) {
	if committed {
		r.note("committed")
	} else {
		r.note("rolled back")
	}
}

// entry makes the entry that follows the position.
func entry(t *testing.T, after journal.Position, fill func(e *journal.Entry)) (parts []journal.Part, end journal.Position) {
	e := journal.Begin(func(t *dialect.Table) journal.TableName { return journal.TableName{Table: t.Name} }, after, 1, time.Now(), func(p journal.Part) error {
		parts = append(parts, p)
		return nil
	})
	fill(e)
	end, err := e.Finish()
	require.NoError(t, err)
	return parts, end
}

// What a node is told of a transaction comes in the order that Stay says, each stay ends once, and what failed counts for nothing.
func TestStays(t *testing.T) {
	table := &dialect.Table{Name: "t", Stored: []string{"id", "v"}, Key: []int{0}}
	create, made := entry(t, journal.Position{}, func(e *journal.Entry) {
		e.Body.Schema = []dialect.Statement{{SQL: "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)"}}
	})
	row := func(after journal.Position, id int64) ([]journal.Part, journal.Position) {
		return entry(t, after, func(e *journal.Entry) {
			e.Body.Batches = map[string]uint64{"s/q": uint64(id)}
			require.NoError(t, e.Add(table, dialect.Row{Key: []any{id}, Values: []any{id, nil}}))
		})
	}
	one, second := row(made, 1)
	two, third := row(second, 2)
	created := []string{"enter", "opened", "schema", "restored", "committed"}
	for name, c := range map[string]struct {
		fails string
		parts []journal.Part
		calls []string
		end   journal.Position
	}{
		"all":              {"", slices.Concat(create, one, two), slices.Concat(created, []string{"enter", "opened", "includes", "write t", "committed"}), third},
		"no turn":          {"enter", create, []string{"enter"}, journal.Position{}},
		"not opened":       {"opened", create, []string{"enter", "opened", "rolled back"}, journal.Position{}},
		"not prepared":     {"schema", create, []string{"enter", "opened", "schema", "rolled back"}, journal.Position{}},
		"not restored":     {"restored", create, []string{"enter", "opened", "schema", "restored", "rolled back"}, journal.Position{}},
		"batches not told": {"includes", slices.Concat(create, one), slices.Concat(created, []string{"enter", "opened", "includes", "rolled back"}), made},
		"rows not written": {"write t", slices.Concat(create, one), slices.Concat(created, []string{"enter", "opened", "includes", "write t", "rolled back"}), made},
	} {
		t.Run(name, func(t *testing.T) {
			n, a := open(t)
			r := &recorder{n: n, fails: c.fails}
			a.Use(r)
			err := a.Parts(t.Context(), c.parts)
			if c.fails == "" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, errRefused)
			}
			require.Equal(t, c.calls, r.calls)
			require.Equal(t, c.end, a.Position())
			_, last, err := n.Journal.Bounds(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.end, last)
		})
	}
}

// A node that does nothing itself notes which batches of snaps it has, as whoever is promoted must know.
func TestPassiveNotesBatches(t *testing.T) {
	n, a := open(t)
	parts, _ := entry(t, journal.Position{}, func(e *journal.Entry) { e.Body.Batches = map[string]uint64{"s/q": 7} })
	require.NoError(t, a.Parts(t.Context(), parts))
	number, err := n.Received(t.Context(), n.DB, "s/q")
	require.NoError(t, err)
	require.EqualValues(t, 7, number)
}

// A snapshot has its stays too, whether it comes as rows or as a file: one in which the node's data go, one for each chunk, and
// one in which it is whole.
func TestSnapshotStays(t *testing.T) {
	base := journal.Position{Epoch: 1, LSN: 7}
	emptied := []string{"enter", "opened", "emptied", "committed"}
	for name, file := range map[string]bool{"rows": false, "file": true} {
		t.Run(name, func(t *testing.T) {
			master, _ := open(t)
			_, err := master.DB.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 2)")
			require.NoError(t, err)
			head := link.SnapshotHead{Base: base, File: file}
			if !file {
				head.Objects, err = master.Engine.Objects(t.Context(), master.DB)
				require.NoError(t, err)
			}
			n, a := open(t)
			r := &recorder{n: n}
			a.Use(r)
			require.NoError(t, a.BeginSnapshot(t.Context(), head))
			require.Equal(t, emptied, r.calls)
			r.calls = nil
			want := []string{"enter", "restored", "committed"}
			if file {
				path := filepath.Join(t.TempDir(), "copy")
				require.NoError(t, master.Engine.(dialect.FileCopier).CopyTo(t.Context(), path))
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, a.TakeFile(content))
			} else {
				row := dialect.Row{Key: []any{int64(1)}, Values: []any{int64(1), int64(2)}}
				c := &journal.Change{Table: "t", Columns: []string{"id", "v"}, Key: []int{0}, Present: 1, Rows: wire.AppendRow(nil, row.Values)}
				require.NoError(t, a.TakeRows(t.Context(), &apply.Rows{Change: c, After: row.Key, List: []dialect.Row{row}}))
				want = []string{"enter", "opened", "committed", "enter", "opened", "restored", "committed"}
			}
			require.NoError(t, a.EndSnapshot(t.Context(), 0))
			require.Equal(t, want, r.calls)
			require.Equal(t, base, a.Position())
			var v int
			require.NoError(t, n.DB.QueryRow("SELECT v FROM t WHERE id = 1").Scan(&v))
			require.Equal(t, 2, v)
		})
	}
}
