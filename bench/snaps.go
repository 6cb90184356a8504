package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/tcp"
)

// shop is a snap with a link that can be cut.
type shop struct {
	*ddb.Cluster
	db   *database
	link *fault.Transport
}

// openShop makes a snap of a new database that has its first copy.
func openShop(ctx context.Context, db *database, id, address string, over transport.Transport) (*shop, error) {
	s := &shop{db: db, link: fault.New(over)}
	err := s.open(ctx, id, address)
	if err == nil {
		err = s.WaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *shop) open(ctx context.Context, id, address string) (err error) {
	s.Cluster, err = ddb.Open(ctx, s.db.DB, ddb.Options{ID: id, Role: ddb.Snap, Master: address, Transport: s.link, Logger: logger(),
		QueueMaxBatches: math.MaxInt32, QueueMaxBytes: math.MaxInt64, BusyTimeout: time.Minute}) // many share two cores
	return err
}

func (s *shop) close() error {
	var err error
	if s.Cluster != nil {
		err = s.Cluster.Close()
	}
	return errors.Join(err, s.db.close())
}

// exchanged waits until the master has everything that the snap has written, and the snap has all that is up to lsn.
func (s *shop) exchanged(ctx context.Context, lsn func() ddb.LSN) error {
	for {
		self := s.Nodes()[0]
		if self.Pending == 0 && self.LSN >= lsn() {
			return nil
		}
		wait(ctx, time.Millisecond)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("waiting for %+v: %w", self, err)
		}
	}
}

// openPairOf makes a master and a snap on the same kind of database, linked by TCP.
func openPairOf(ctx context.Context, e *env, on engine, setup ...string) (*pair, *shop, error) {
	p, err := openMaster(ctx, e, on, setup...)
	if err != nil {
		return nil, nil, err
	}
	db, err := on(e, 1)
	if err == nil {
		var s *shop
		if s, err = openShop(ctx, db, "s1", p.address, tcp.New(tcp.Options{})); err == nil {
			return p, s, nil
		}
	}
	return nil, nil, errors.Join(err, p.close())
}

func (p *pair) end() ddb.LSN { return p.master.Position().LSN }

// snapWriters compares autocommit inserts on a snap with raw ones: with the link down, which is what
// snaps are for, and while all of it is exchanged with a master that shares the machine.
func snapWriters(on engine, create string, writers int, goal float64) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		d := time.Duration(e.scale(1000, 250)) * time.Millisecond
		raw, err := on(e, 1)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, raw.close()) }()
		if raw.file != "" {
			raw.SetMaxOpenConns(1) // its fastest
		}
		if _, err := raw.ExecContext(ctx, create); err != nil {
			return nil, err
		}
		p, s, err := openPairOf(ctx, e, on, create)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close(), p.close()) }()
		rawLoad := func() (float64, error) { return load(ctx, writers, d, inserts(raw)) }
		s.link.CutAll()
		ratio, from, err := against(e, rawLoad, func() (float64, error) { return load(ctx, writers, d, inserts(s)) })
		if err != nil {
			return nil, err
		}
		if err := s.reconnect(ctx, p); err != nil {
			return nil, err
		}
		both, bothFrom, err := against(e, rawLoad, func() (float64, error) {
			rate, err := load(ctx, writers, d, inserts(s))
			return rate, errors.Join(err, s.exchanged(ctx, p.end))
		})
		return []figure{{what: "link down", value: ratio, unit: "x", goal: goal, from: from},
			{what: "exchanged meanwhile with a master on this machine", value: both, unit: "x", from: bothFrom}}, err
	}
}

// reconnect heals the link and opens the snap again, which connects at once, and waits until all is exchanged.
func (s *shop) reconnect(ctx context.Context, p *pair) error {
	if err := s.Cluster.Close(); err != nil {
		return err
	}
	s.link.HealAll()
	if err := s.open(ctx, "s1", p.address); err != nil {
		return err
	}
	return s.exchanged(ctx, p.end)
}

// each calls write for every number from 1 to n, from several goroutines.
func each(ctx context.Context, writers, n int, write func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n && ctx.Err() == nil; i = int(next.Add(1)) {
				if err := write(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// backlog measures how fast 100,000 rows, in transactions of size rows, reach the master.
func backlog(on engine, create string, size int, goal float64) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		rows := e.scale(100_000, 10_000)
		p, s, err := openPairOf(ctx, e, on, create)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close(), p.close()) }()
		var rates []float64
		for round := range e.rounds {
			s.link.CutAll()
			err := each(ctx, 32, rows/size, func(ctx context.Context, i int) error {
				args := slices.Repeat([]any{i, body}, size)
				_, err := s.ExecContext(ctx, insertItem+strings.Repeat(", (?, ?)", size-1), args...)
				return err
			})
			if err != nil {
				return nil, err
			}
			start := time.Now()
			if err := s.reconnect(ctx, p); err != nil {
				return nil, err
			}
			rates = append(rates, float64(rows)/time.Since(start).Seconds())
			if err := p.sameSnap(ctx, s, "items", (round+1)*rows); err != nil {
				return nil, err
			}
		}
		return []figure{{value: median(rates), unit: "rows/s", goal: goal, from: fmt.Sprintf("%d rows in transactions of %d, from Open of the snap on", rows, size)}}, nil
	}
}

// sameSnap checks that both databases hold as many rows, and the number that is due.
func (p *pair) sameSnap(ctx context.Context, s *shop, table string, want int) error {
	for _, db := range []*database{p.mdb, s.db} {
		var n int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("table %s has %d rows, not %d", table, n, want)
		}
	}
	return nil
}

// manyConflicts lets snap and master change the same 10,000 rows, each in a transaction of its own.
func manyConflicts(on engine) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		rows := e.scale(10_000, 1000)
		name, err := kind(e, on)
		if err != nil {
			return nil, err
		}
		p, s, err := openPairOf(ctx, e, on, fill(name, rows)...)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close(), p.close()) }()
		var took []float64
		for round := range e.rounds {
			s.link.CutAll()
			err := each(ctx, 32, rows, func(ctx context.Context, i int) error {
				_, err := s.ExecContext(ctx, "UPDATE big SET body = ? WHERE id = ?", fmt.Sprintf("snap %d", round), i)
				return err
			})
			if err == nil {
				_, err = p.master.ExecContext(ctx, "UPDATE big SET body = ?", fmt.Sprintf("master %d", round))
			}
			if err != nil {
				return nil, err
			}
			start := time.Now()
			if err := s.reconnect(ctx, p); err != nil {
				return nil, err
			}
			took = append(took, time.Since(start).Seconds())
			table := "_ddb_conflicts"
			if name == "mariadb" {
				table = "conflicts"
			}
			if err := p.conflicts(ctx, s, table, (round+1)*rows); err != nil {
				return nil, err
			}
		}
		return []figure{{value: median(took), unit: "s", goal: 5, most: true, from: fmt.Sprintf("%d refused transactions, from Open of the snap on", rows)}}, nil
	}
}

// conflicts checks that both nodes have as many conflicts as are due.
func (p *pair) conflicts(ctx context.Context, s *shop, table string, want int) error {
	for _, db := range []*database{p.mdb, s.db} {
		name := table
		if db.server != nil {
			name = db.name + "_ddb." + table
		}
		var n int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+name).Scan(&n); err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%d conflicts, not %d", n, want)
		}
	}
	return nil
}
