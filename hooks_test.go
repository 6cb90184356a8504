package ddb_test

import (
	"context"
	"database/sql"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
)

// hookDialect is another dialect with hooks around what its engines do, which may come and go at any time. Each is given
// what it stands around, and returns in its place.
type hookDialect struct {
	dialect.Dialect
	begin, commit atomic.Pointer[func(ctx context.Context, p dialect.Purpose, do func() error) error]
	run           atomic.Pointer[func(statement string, do func() error) error] // of each schema statement
	capture       atomic.Pointer[func(do func() error) error]                   // of the triggers
}

type hookEngine struct {
	dialect.Engine
	d *hookDialect
}

// manyWriters is what a snap needs of an engine whose writers are many.
type manyWriters interface {
	Mark(transaction bool) string
	MostBytes() int
	DropBatches(ctx context.Context, q dialect.Querier, ids []int64) error
	CollectTransactions(ctx context.Context, q dialect.Querier, tables []*dialect.Table, most int, emit func(tx int, t *dialect.Table, r dialect.Row) error) ([]dialect.Notes, bool, error)
}

func (d *hookDialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
	e, err := d.Dialect.Bind(ctx, db, cfg)
	if err != nil {
		return nil, err
	}
	h := hookEngine{e, d}
	if m, ok := e.(manyWriters); ok {
		return struct {
			hookEngine
			manyWriters
		}{h, m}, nil
	}
	return h, nil
}

func (e hookEngine) Begin(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	do := func() error { return e.Engine.Begin(ctx, c, p) }
	if hook := e.d.begin.Load(); hook != nil {
		return (*hook)(ctx, p, do)
	}
	return do()
}

func (e hookEngine) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	do := func() error { return e.Engine.Commit(ctx, c, p) }
	if hook := e.d.commit.Load(); hook != nil {
		return (*hook)(ctx, p, do)
	}
	return do()
}

func (e hookEngine) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	do := func() error { return e.Engine.Run(ctx, c, s) }
	if hook := e.d.run.Load(); hook != nil {
		return (*hook)(s.SQL, do)
	}
	return do()
}

func (e hookEngine) InstallCapture(ctx context.Context, q dialect.Querier, tables []*dialect.Table, mode dialect.CaptureMode) error {
	do := func() error { return e.Engine.InstallCapture(ctx, q, tables, mode) }
	if hook := e.d.capture.Load(); hook != nil {
		return (*hook)(do)
	}
	return do()
}
