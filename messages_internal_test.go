package ddb

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// What no node sends is refused where it is decoded, whatever the message.
func TestDamagedMessages(t *testing.T) {
	change := func(edit func(*Change)) *Change {
		c := twoRows()
		edit(c)
		return c
	}
	entry := func(edit func(*Change)) func() error {
		return func() error {
			payload, err := wire.Marshal(journal.Body{Changes: []*Change{change(edit)}})
			require.NoError(t, err)
			b, err := journal.Decode(&Part{LSN: 1, Payload: payload})
			if err == nil {
				err = b.Changes[0].Each(func(dialect.Row) error { return nil })
			}
			return err
		}
	}
	decoded := func(msg any, decode func([]byte) error) func() error {
		return func() error {
			payload, err := wire.Marshal(msg)
			require.NoError(t, err)
			return decode(payload)
		}
	}
	rows := func(payload []byte) error { _, err := apply.DecodeRows(payload); return err }
	for name, decode := range map[string]func() error{
		"key below zero":             entry(func(c *Change) { c.Key = []int{-1} }),
		"key beyond the columns":     entry(func(c *Change) { c.Key = []int{3} }),
		"no key":                     entry(func(c *Change) { c.Key = nil }),
		"rows without columns":       entry(func(c *Change) { c.Columns, c.Key, c.Present = nil, nil, 1<<62 }),
		"fewer rows than none":       entry(func(c *Change) { c.Present = -1 }),
		"fewer keys than none":       entry(func(c *Change) { c.Absent = -1 }),
		"more rows than bytes":       entry(func(c *Change) { c.Present = 1 << 40 }),
		"more keys than bytes":       entry(func(c *Change) { c.Absent = 1 << 40 }),
		"bytes behind the rows":      entry(func(c *Change) { c.Rows = append(c.Rows, 0) }),
		"bytes behind the keys":      entry(func(c *Change) { c.Keys = append(c.Keys, 0) }),
		"rows that are cut short":    entry(func(c *Change) { c.Rows = c.Rows[:2] }),
		"changes of no table":        decoded(journal.Body{Changes: []*Change{nil}}, func(b []byte) error { _, err := journal.Decode(&Part{Payload: b}); return err }),
		"batch of no snap":           decoded(journal.Body{Batches: map[string]uint64{"": 1}}, func(b []byte) error { _, err := journal.Decode(&Part{Payload: b}); return err }),
		"rows of no table":           decoded(link.SnapshotRows{}, rows),
		"last key that is none":      decoded(link.SnapshotRows{Change: change(func(c *Change) { c.Absent, c.Keys = 0, nil }), After: wire.Row{int64(1)}}, rows),
		"keys in a snapshot":         decoded(link.SnapshotRows{Change: twoRows(), After: wire.Row{int64(1), "x"}}, rows),
		"anchor for an entry":        decoded(Part{LSN: 1, Records: -1}, decodes[Part]),
		"part below zero":            decoded(Part{LSN: 1, Index: -1}, decodes[Part]),
		"entry zero":                 decoded(Part{}, decodes[Part]),
		"entry beyond all":           decoded(Part{LSN: journal.MaxLSN + 1}, decodes[Part]),
		"snapshot beyond all":        decoded(link.SnapshotHead{Base: Position{LSN: journal.MaxLSN + 1}}, decodes[link.SnapshotHead]),
		"resumed from the beginning": decoded(link.SnapshotHead{Resume: true, File: true}, decodes[link.SnapshotHead]),
		"interval below zero":        decoded(link.Beat{Every: -1}, decodes[link.Beat]),
		"interval of an age":         decoded(link.Beat{Every: 1 << 62}, decodes[link.Beat]),
		"batches beyond all":         decoded(link.Batches{First: 1<<64 - 1, Bodies: [][]byte{{}, {}}}, decodes[link.Batches]),
		"verdict beyond all":         decoded(link.Verdict{Through: 1 << 63}, decodes[link.Verdict]),
		"queue beyond all":           decoded(link.Hello{Number: 1 << 63}, decodes[link.Hello]),
		"small number below zero":    decoded(link.Welcome{Node: -1}, decodes[link.Welcome]),
		"no message":                 func() error { return decodes[link.Beat]([]byte{0xff}) },
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, decode(), ErrDamaged) })
	}
	require.NoError(t, entry(func(*Change) {})())
}

func decodes[T any](payload []byte) error {
	_, err := wire.DecodeChecked[T](payload)
	return err
}

// A cursor that fits no table begins the snapshot anew.
func TestHostileCursor(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "m.db"))
	require.NoError(t, err)
	defer db.Close()
	c, err := Open(t.Context(), db, Options{ID: "m"})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Exec("CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a, b))")
	require.NoError(t, err)
	require.NoError(t, c.m.seq.Pass(context.Background()))
	pos := c.m.seq.State.Load().Pos
	for _, from := range []struct {
		link.Cursor
		resumes bool
	}{
		{link.Cursor{Base: pos, Table: "t", After: wire.Row{int64(1), int64(2)}}, true},
		{link.Cursor{Base: pos}, true},
		{link.Cursor{Base: pos, Table: "t", After: wire.Row{int64(1)}}, false},
		{link.Cursor{Base: pos, Table: "t"}, false},
		{link.Cursor{Base: pos, Table: "gone", After: wire.Row{int64(1), int64(2)}}, false},
		{link.Cursor{Base: Position{Epoch: pos.Epoch, LSN: pos.LSN + 1, Hash: pos.Hash}}, false},
		{link.Cursor{Base: Position{LSN: apply.Loading}}, false},
		{link.Cursor{Base: Position{Epoch: pos.Epoch, LSN: pos.LSN}}, false},
	} {
		require.Equal(t, from.resumes, c.m.fleet.Resumable(t.Context(), &from.Cursor, schema.Record{}, c.m.node.Tables.Load()), "%+v", from)
	}
}
