package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// createTable makes a table as programs have them, on either engine.
const createTable = "CREATE TABLE %s%d (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE, amount INTEGER, born TIMESTAMP NULL)"

// schemaStatements compares what CREATE TABLE takes on a master that a replica follows with what it takes without ddb, beside 5, 50 and 500 other tables.
func schemaStatements(on engine) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (figures []figure, err error) {
		for _, others := range []int{5, 50, 500} {
			raw, through, err := createBeside(ctx, e, on, others)
			if err != nil {
				return nil, err
			}
			figures = append(figures, figure{what: fmt.Sprintf("beside %d tables", others), value: float64(through) / float64(raw), unit: "x", goal: 5, most: true,
				from: fmt.Sprintf("%v against %v", through.Round(10*time.Microsecond), raw.Round(10*time.Microsecond))})
		}
		return figures, nil
	}
}

// createBeside takes the medians of the time of CREATE TABLE, by turns without and with ddb.
func createBeside(ctx context.Context, e *env, on engine, others int) (raw, through time.Duration, err error) {
	db, err := on(e, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	db.SetMaxOpenConns(1)
	var setup []string
	for n := range others {
		setup = append(setup, fmt.Sprintf(createTable, "other", n))
	}
	for _, s := range setup {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return 0, 0, err
		}
	}
	p, err := openPair(ctx, e, on, setup...)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var raws, throughs []time.Duration
	for n := range e.rounds * e.scale(10, 3) {
		for _, turn := range []struct {
			on   execer
			took *[]time.Duration
		}{{db, &raws}, {p.master, &throughs}} {
			start := time.Now()
			if _, err := turn.on.ExecContext(ctx, fmt.Sprintf(createTable, "t", n)); err != nil {
				return 0, 0, err
			}
			*turn.took = append(*turn.took, time.Since(start))
		}
		if err := p.master.WaitLevel(ctx); err != nil { // what the replica does shall not meet the next turn
			return 0, 0, err
		}
	}
	return median(raws), median(throughs), nil
}
