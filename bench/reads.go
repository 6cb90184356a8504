package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
)

// queryer is what *sql.DB and *ddb.Cluster have in common.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func readOne(on queryer, query string, args ...any) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		rows, err := on.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		return errors.Join(rows.Err(), rows.Close())
	}
}

// mariadbQuery compares reads by primary key, from one reader, in blocks that alternate.
func mariadbQuery(ctx context.Context, e *env) (_ []figure, err error) {
	p, err := openMaster(ctx, e, mariadbEngine, mariadbItems)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if _, err := p.master.ExecContext(ctx, insertItem, 1, body); err != nil {
		return nil, err
	}
	const query = "SELECT id, writer, body FROM items WHERE id = 1"
	raw, through := readOne(p.mdb, query), readOne(p.master, query)
	rate := func(read func(context.Context) error) func() (float64, error) {
		return func() (float64, error) {
			n := e.scale(3000, 500)
			start := time.Now()
			for range n {
				if err := read(ctx); err != nil {
					return 0, err
				}
			}
			return float64(n) / time.Since(start).Seconds(), nil
		}
	}
	ratio, from, err := against(e, rate(raw), rate(through))
	return []figure{{value: ratio, unit: "x", goal: 0.95, from: from}}, err
}

// queryAdded measures what Cluster adds to a Query, on a driver that does nothing, with
// two replicas to choose from.
func queryAdded(ctx context.Context, e *env) (_ []figure, err error) {
	open := func() *sql.DB {
		db := sql.OpenDB(testdb.Idle{})
		db.SetMaxIdleConns(4)
		return db
	}
	master, a, b := open(), open(), open()
	defer func() { err = errors.Join(err, master.Close(), a.Close(), b.Close()) }()
	c, err := ddb.Wrap(ctx, master, map[string]*sql.DB{"a": a, "b": b}, ddb.PingChecker{}, ddb.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	const query = "SELECT id, writer, body FROM items WHERE id = ?"
	raw, through := readOne(a, query, 1), readOne(c, query, 1)
	n := e.scale(200_000, 20_000)
	each := func(read func(context.Context) error) (time.Duration, error) {
		start := time.Now()
		for range n {
			if err := read(ctx); err != nil {
				return 0, err
			}
		}
		return time.Since(start) / time.Duration(n), nil
	}
	var added []float64
	for range e.rounds {
		without, err := each(raw)
		if err != nil {
			return nil, err
		}
		with, err := each(through)
		if err != nil {
			return nil, err
		}
		added = append(added, float64((with-without).Nanoseconds())/1000)
	}
	count := func(read func(context.Context) error) float64 {
		return testing.AllocsPerRun(10_000, func() {
			if e := read(ctx); e != nil {
				err = e
			}
		})
	}
	allocs := count(through) - count(raw)
	if err != nil {
		return nil, err
	}
	return []figure{
		{what: "time", value: median(added), unit: "us", goal: 2, most: true, from: fmt.Sprintf("%d queries a round", n)},
		{what: "allocations", value: max(allocs, 0), unit: "", goal: 3, most: true},
	}, nil
}
