package testcluster

import (
	"context"
	"database/sql"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
)

// HookDialect is another dialect with hooks around what its engines do, which may come and go at any time. Each is given
// what it stands around, and returns in its place.
type HookDialect struct {
	dialect.Dialect
	Begin, Commit atomic.Pointer[func(ctx context.Context, p dialect.Purpose, do func() error) error]
	Run           atomic.Pointer[func(statement string, do func() error) error] // of each schema statement
	Capture       atomic.Pointer[func(do func() error) error]                   // of the triggers
}

type hookEngine struct {
	dialect.Engine
	d *HookDialect
}

// manyWriters is what a snap needs of an engine whose writers are many.
type manyWriters interface {
	Mark(transaction bool) string
	MostBytes() int
	DropBatches(ctx context.Context, q dialect.Querier, ids []int64) error
	CollectTransactions(ctx context.Context, q dialect.Querier, tables []*dialect.Table, most int, emit func(tx int, t *dialect.Table, r dialect.Row) error) ([]dialect.Notes, bool, error)
}

// Bind returns the engine of the dialect, with the hooks around it.
func (d *HookDialect) Bind(ctx context.Context, db *sql.DB, cfg dialect.Config) (dialect.Engine, error) {
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
	if hook := e.d.Begin.Load(); hook != nil {
		return (*hook)(ctx, p, do)
	}
	return do()
}

func (e hookEngine) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	do := func() error { return e.Engine.Commit(ctx, c, p) }
	if hook := e.d.Commit.Load(); hook != nil {
		return (*hook)(ctx, p, do)
	}
	return do()
}

func (e hookEngine) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	do := func() error { return e.Engine.Run(ctx, c, s) }
	if hook := e.d.Run.Load(); hook != nil {
		return (*hook)(s.SQL, do)
	}
	return do()
}

func (e hookEngine) InstallCapture(ctx context.Context, q dialect.Querier, tables []*dialect.Table, mode dialect.CaptureMode) error {
	do := func() error { return e.Engine.InstallCapture(ctx, q, tables, mode) }
	if hook := e.d.Capture.Load(); hook != nil {
		return (*hook)(do)
	}
	return do()
}
