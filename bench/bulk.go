package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/ddb-project/ddb/internal/testdb"
)

// fill returns statements that put n rows of about 60 bytes into the table "big".
func fill(on string, n int) []string {
	if on == "sqlite" {
		return []string{
			"CREATE TABLE big (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, body TEXT NOT NULL)",
			fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) "+
				"INSERT INTO big SELECT i, i * 7 %% 1000, printf('%%040d', i) || hex(i) FROM s", n),
		}
	}
	return []string{
		"CREATE TABLE big (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL, body VARCHAR(100) NOT NULL)",
		fmt.Sprintf("INSERT INTO big SELECT seq, seq * 7 %% 1000, CONCAT(LPAD(seq, 40, '0'), HEX(seq)) FROM seq_1_to_%d", n),
	}
}

func nameOf(d *database) string {
	if d.server != nil {
		return "mariadb"
	}
	return "sqlite"
}

func kind(e *env, on engine) (string, error) {
	d, err := on(e, 0)
	if err != nil {
		return "", err
	}
	return nameOf(d), d.close()
}

// catchUp stops the replica, changes 1,000,000 rows of 100,000 in transactions of 100, and brings the replica back.
func catchUp(on engine) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		name, err := kind(e, on)
		if err != nil {
			return nil, err
		}
		rows, changes := e.scale(100_000, 10_000), e.scale(1_000_000, 50_000)
		p, err := openPair(ctx, e, on, fill(name, rows)...)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		var rates, took []float64
		for round := range e.rounds {
			if err := p.replica.Close(); err != nil {
				return nil, err
			}
			if err := p.change(ctx, round, rows, changes); err != nil {
				return nil, err
			}
			start := time.Now()
			if err := p.openReplica(ctx, e, on); err != nil {
				return nil, err
			}
			if err := errors.Join(p.replica.WaitReady(ctx), p.master.WaitLevel(ctx)); err != nil {
				return nil, err
			}
			d := time.Since(start).Seconds()
			if err := p.sameSum(ctx); err != nil {
				return nil, err
			}
			rates, took = append(rates, float64(changes)/d), append(took, d)
		}
		return []figure{{value: median(rates), unit: "changes/s", goal: 50_000, from: fmt.Sprintf("%d changes in %.1f s", changes, median(took))}}, nil
	}
}

// change updates rows in transactions of 100, each row equally often.
func (p *pair) change(ctx context.Context, round, rows, changes int) error {
	const size = 100
	for at := 0; at < changes; at += size {
		first := at*7919%rows + 1
		if first > rows-size {
			first = rows - size + 1
		}
		_, err := p.master.ExecContext(ctx, "UPDATE big SET n = n + ? WHERE id BETWEEN ? AND ?", round+1, first, first+size-1)
		if err != nil {
			return err
		}
	}
	return nil
}

// sameSum checks that both databases hold the same numbers.
func (p *pair) sameSum(ctx context.Context) error {
	const query = "SELECT COUNT(*), SUM(n * (id % 1009)) FROM big"
	var n1, s1, n2, s2 int64
	if err := p.mdb.QueryRowContext(ctx, query).Scan(&n1, &s1); err != nil {
		return err
	}
	if err := p.rdb.QueryRowContext(ctx, query).Scan(&n2, &s2); err != nil {
		return err
	}
	if n1 != n2 || s1 != s2 {
		return fmt.Errorf("the master has %d rows that sum up to %d, the replica %d and %d", n1, s1, n2, s2)
	}
	return nil
}

// fresh closes the replica and forgets its database.
func (p *pair) fresh() error {
	if p.replica == nil {
		return nil
	}
	err := errors.Join(p.replica.Close(), p.rdb.close())
	p.replica, p.rdb = nil, nil
	return err
}

// newReplica measures from Open of an empty replica until it is active.
func newReplica(ctx context.Context, e *env) (_ []figure, err error) {
	p, err := openMaster(ctx, e, sqliteEngine, fill("sqlite", e.scale(1_000_000, 50_000))...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	took, mem, err := p.takeSnapshots(ctx, e, sqliteEngine, func() error { return nil })
	return []figure{
		{value: median(took), unit: "s", goal: 3, most: true},
		{what: "memory above idle", value: median(mem), unit: "MiB"},
	}, err
}

// takeSnapshots opens a new replica in each round, after what between does.
func (p *pair) takeSnapshots(ctx context.Context, e *env, on engine, between func() error) (took, mem []float64, err error) {
	for range e.rounds {
		if err := errors.Join(p.fresh(), between()); err != nil {
			return nil, nil, err
		}
		watch := watchMemory()
		start := time.Now()
		if err := p.openReplica(ctx, e, on); err != nil {
			return nil, nil, err
		}
		if err := p.replica.WaitReady(ctx); err != nil {
			return nil, nil, err
		}
		took, mem = append(took, time.Since(start).Seconds()), append(mem, watch.over())
		if err := p.sameSum(ctx); err != nil {
			return nil, nil, err
		}
	}
	return took, mem, nil
}

// snapshot compares a new replica with mariadb-dump piped into mariadb, from one server to another.
func snapshot(ctx context.Context, e *env) (_ []figure, err error) {
	p, err := openMaster(ctx, e, mariadbEngine, fill("mariadb", e.scale(2_000_000, 50_000))...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var dumps []float64
	took, mem, err := p.takeSnapshots(ctx, e, mariadbEngine, func() error {
		to, err := mariadbEngine(e, 1)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := dump(ctx, p.mdb, to); err != nil {
			return err
		}
		dumps = append(dumps, time.Since(start).Seconds())
		_, err = to.ExecContext(ctx, "DROP DATABASE "+to.name)
		return errors.Join(err, to.close())
	})
	if err != nil {
		return nil, err
	}
	ratios := make([]float64, len(took))
	for i := range took {
		ratios[i] = dumps[i] / took[i]
	}
	return []figure{
		{what: "speed", value: median(ratios), unit: "x", goal: 1, from: fmt.Sprintf("%.2f s against %.2f s", median(took), median(dumps))},
		{what: "memory above idle", value: median(mem), unit: "MiB", goal: 64, most: true},
	}, nil
}

// dump copies the table big.
func dump(ctx context.Context, from, to *database) error {
	args := func(s *testdb.Server) string {
		return fmt.Sprintf("--no-defaults -h127.0.0.1 -P%d -u%s", s.Port(), s.User())
	}
	script := fmt.Sprintf("set -o pipefail; MYSQL_PWD=%s mariadb-dump %s --single-transaction --quick --skip-triggers %s big | MYSQL_PWD=%s mariadb %s %s",
		from.server.Password(), args(from.server), from.name, to.server.Password(), args(to.server), to.name)
	out, err := exec.CommandContext(ctx, "bash", "-c", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-dump: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// bigTransaction changes 1,000,000 rows in one transaction while a replica follows.
func bigTransaction(on engine) func(ctx context.Context, e *env) ([]figure, error) {
	return func(ctx context.Context, e *env) (_ []figure, err error) {
		name, err := kind(e, on)
		if err != nil {
			return nil, err
		}
		p, err := openPair(ctx, e, on, fill(name, e.scale(1_000_000, 50_000))...)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		var mem, commit, level []float64
		for range e.rounds {
			before := p.replica.Position().LSN
			watch := watchMemory()
			start := time.Now()
			if _, err := p.master.ExecContext(ctx, "UPDATE big SET n = n + 1"); err != nil {
				return nil, err
			}
			commit = append(commit, time.Since(start).Seconds())
			if err := p.master.WaitLevel(ctx); err != nil {
				return nil, err
			}
			level = append(level, time.Since(start).Seconds())
			mem = append(mem, watch.over())
			if err := p.sameSum(ctx); err != nil {
				return nil, err
			}
			if after := p.replica.Position().LSN; after > before+2 {
				return nil, fmt.Errorf("the transaction became %d entries", after-before)
			}
		}
		return []figure{{value: median(mem), unit: "MiB", goal: 256, most: true,
			from: fmt.Sprintf("committed after %.1f s, on the replica after %.1f s", median(commit), median(level))}}, nil
	}
}
