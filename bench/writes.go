package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	sqliteItems  = "CREATE TABLE items (id INTEGER PRIMARY KEY, writer INTEGER NOT NULL, body TEXT NOT NULL)"
	mariadbItems = "CREATE TABLE items (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, writer INT NOT NULL, body VARCHAR(200) NOT NULL)"
	insertItem   = "INSERT INTO items (writer, body) VALUES (?, ?)"
)

var body = strings.Repeat("x", 100)

func inserts(on execer) func(ctx context.Context, writer, n int) error {
	return func(ctx context.Context, writer, n int) error {
		_, err := on.ExecContext(ctx, insertItem, writer, body)
		return err
	}
}

// against compares the rates of two loads, as often as there are rounds. Within a round they take
// turns several times, so that whatever else the machine does meets both.
func against(e *env, raw, through func() (float64, error)) (ratio float64, from string, err error) {
	var ratios, raws, throughs []float64
	for range e.rounds {
		var a, b float64
		for range turns {
			r, err := raw()
			if err != nil {
				return 0, "", fmt.Errorf("raw: %w", err)
			}
			t, err := through()
			if err != nil {
				return 0, "", fmt.Errorf("ddb: %w", err)
			}
			a, b = a+r/turns, b+t/turns
		}
		ratios, raws, throughs = append(ratios, b/a), append(raws, a), append(throughs, b)
	}
	return median(ratios), fmt.Sprintf("%.0f/s against %.0f/s", median(throughs), median(raws)), nil
}

// turns is how often two loads alternate within a round.
const turns = 4

// sqliteWriters compares autocommit inserts with raw ones on a file with the same settings. The raw
// database has one connection, which is its fastest: writers of several would wait for each other's locks.
func sqliteWriters(writers int, goal float64) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		d := time.Duration(e.scale(1000, 250)) * time.Millisecond
		raw, err := sqliteEngine(e, 0)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, raw.close()) }()
		raw.SetMaxOpenConns(1)
		if _, err := raw.ExecContext(ctx, sqliteItems); err != nil {
			return nil, err
		}
		p, err := openPair(ctx, e, sqliteEngine, sqliteItems)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		ratio, from, err := against(e,
			func() (float64, error) { return load(ctx, writers, d, inserts(raw)) },
			func() (float64, error) {
				rate, err := load(ctx, writers, d, inserts(p.master))
				return rate, errors.Join(err, p.master.WaitLevel(ctx))
			})
		return []figure{{value: ratio, unit: "x", goal: goal, from: from}}, err
	}
}

// mariadbWriters compares autocommit inserts on two tables of one server, one of them captured.
func mariadbWriters(ctx context.Context, e *env) (_ []figure, err error) {
	d := time.Duration(e.scale(1200, 250)) * time.Millisecond
	raw, err := mariadbEngine(e, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	if _, err := raw.ExecContext(ctx, mariadbItems); err != nil {
		return nil, err
	}
	p, err := openMaster(ctx, e, mariadbEngine, mariadbItems)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	ratio, from, err := against(e,
		func() (float64, error) { return load(ctx, 16, d, inserts(raw)) },
		func() (float64, error) { return load(ctx, 16, d, inserts(p.master)) })
	return []figure{{value: ratio, unit: "x", goal: 0.85, from: from}}, err
}

// timeToLevel measures how long a replica needs to have everything after 16 writers stop.
func timeToLevel(ctx context.Context, e *env) (_ []figure, err error) {
	p, err := openPair(ctx, e, mariadbEngine, mariadbItems)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var took []float64
	var rates []float64
	for range e.rounds {
		rate, err := load(ctx, 16, time.Duration(e.scale(10, 1))*time.Second, inserts(p.master))
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if err := p.master.WaitLevel(ctx); err != nil {
			return nil, err
		}
		took, rates = append(took, float64(time.Since(start).Microseconds())/1000), append(rates, rate)
		if err := p.sameCount(ctx, "items"); err != nil {
			return nil, err
		}
	}
	return []figure{{value: median(took), unit: "ms", goal: 200, most: true, from: fmt.Sprintf("%.0f writes/s before", median(rates))}}, nil
}

// sameCount checks that both databases hold as many rows.
func (p *pair) sameCount(ctx context.Context, table string) error {
	var here, there int
	if err := p.mdb.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&here); err != nil {
		return err
	}
	if err := p.rdb.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&there); err != nil {
		return err
	}
	if here != there {
		return fmt.Errorf("the master has %d rows, the replica %d", here, there)
	}
	return nil
}

// pollEvery is the pause between two looks at the replica; what it adds counts as lag.
const pollEvery = 50 * time.Microsecond

// lagAtRest writes one row now and then, and looks for it on the replica until it is there.
func lagAtRest(on engine, goal time.Duration) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		create := sqliteItems
		if goal != 3*time.Millisecond {
			create = mariadbItems
		}
		p, err := openPair(ctx, e, on, create)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		look, err := p.rdb.PrepareContext(ctx, "SELECT id FROM items WHERE id = ?")
		if err != nil {
			return nil, err
		}
		defer look.Close()
		var lags []float64
		for n := range e.rounds * e.scale(100, 20) {
			wait(ctx, time.Duration(15+n%10)*time.Millisecond)
			res, err := p.master.ExecContext(ctx, insertItem, n, body)
			if err != nil {
				return nil, err
			}
			start := time.Now()
			id, err := res.LastInsertId()
			if err != nil {
				return nil, err
			}
			for found := false; !found; {
				rows, err := look.QueryContext(ctx, id)
				if err != nil {
					return nil, err
				}
				found = rows.Next()
				if err := errors.Join(rows.Err(), rows.Close()); err != nil {
					return nil, err
				}
				if !found {
					wait(ctx, pollEvery) // or the looking would keep the replica from working
				}
			}
			lags = append(lags, float64(time.Since(start).Microseconds())/1000)
		}
		return []figure{{value: median(lags), unit: "ms", goal: float64(goal.Milliseconds()), most: true, from: fmt.Sprintf("median of %d", len(lags))}}, nil
	}
}
