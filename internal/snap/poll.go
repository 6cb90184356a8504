package snap

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/watch"
)

// pollPause is how many PollIntervals lie between two looks: nobody but their writer waits for what
// clients write that bypass ddb, and a snap may run on a battery.
const pollPause = 5

// poll makes batches of what clients write that bypass ddb.
func (o *oneWriter) poll(ctx context.Context) {
	q := &preparedDB{DB: o.s.node.DB}
	defer q.close()
	var failed string
	for watch.Sleep(ctx, pollPause*o.s.cfg.PollInterval) == nil {
		if !o.s.f.Readable() {
			continue
		}
		noted, err := o.s.node.Engine.Noted(ctx, q, o.s.node.Tables.Load().Replicated())
		if err == nil && len(noted) > 0 {
			err = o.s.tx(ctx, func(q dialect.Querier) error { return nil })
		}
		switch {
		case err == nil || ctx.Err() != nil:
			failed = ""
		case !errors.Is(err, fault.ErrNotReplicable):
			o.s.node.Log.Debug("cannot look for writes that bypass ddb", "error", err)
		case err.Error() != failed:
			failed = err.Error()
			o.s.node.Log.Error("local writes that bypassed ddb are not exchanged, nor is anything after them", "error", err)
		}
	}
}

// preparedDB keeps the last query compiled.
type preparedDB struct {
	*sql.DB
	text string
	stmt *sql.Stmt
}

// QueryContext runs the query, compiled if it is the last one.
func (p *preparedDB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if p.stmt == nil || p.text != query {
		p.close()
		stmt, err := p.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		p.text, p.stmt = query, stmt
	}
	rows, err := p.stmt.QueryContext(ctx, args...)
	if err != nil {
		p.close()
	}
	return rows, err
}

func (p *preparedDB) close() {
	if p.stmt != nil {
		p.stmt.Close()
		p.stmt = nil
	}
}
