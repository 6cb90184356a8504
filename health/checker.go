package health

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// Report is what a HealthChecker found out about a node.
type Report struct {
	Lag time.Duration // LagUnknown if the node cannot tell
}

// Judge tells the state of a node of which a checker has given the report and the error, and why it is in that. Beyond maxLag it lags.
func (r Report) Judge(err error, maxLag time.Duration) (s State, reason string, lag time.Duration) {
	switch {
	case err != nil:
		return Inactive, err.Error(), LagUnknown
	case r.Lag == LagUnknown:
		return Inactive, "its lag is unknown: replication is stopped or still connecting", LagUnknown
	case r.Lag > maxLag:
		return Lagging, fmt.Sprintf("behind by %v", r.Lag), r.Lag
	}
	return Active, "within the lag limit", r.Lag
}

// Checker finds out how a node is. ddb asks it once per Options.Heartbeat about the members of a
// Cluster made by ddb.Wrap, and, if Options.HealthChecker is set, about the database of a node made by ddb.Open. An
// error marks the node inactive. An implementation must pass
// [github.com/ddb-project/ddb/ddbtest.HealthChecker].
type Checker interface {
	Check(ctx context.Context, id string, db *sql.DB) (Report, error)
}

// PingChecker is a HealthChecker that takes a node that answers to have no lag. It
// suits members that replicate synchronously or do not replicate at all.
type PingChecker struct{}

// Check pings the node.
func (PingChecker) Check(ctx context.Context, id string, db *sql.DB) (Report, error) {
	if err := db.PingContext(ctx); err != nil {
		return Report{Lag: LagUnknown}, fmt.Errorf("node %s: %w", id, err)
	}
	return Report{}, nil
}

// MariaDBChecker is a HealthChecker for replicas of MariaDB's or MySQL's own replication:
// it reads Seconds_Behind_Master of SHOW REPLICA STATUS, in whole seconds. The
// user needs the privilege REPLICA MONITOR (MariaDB) or REPLICATION CLIENT.
type MariaDBChecker struct{}

// Check asks the node for its replication status.
func (MariaDBChecker) Check(ctx context.Context, id string, db *sql.DB) (Report, error) {
	unknown := Report{Lag: LagUnknown}
	rows, err := db.QueryContext(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return unknown, fmt.Errorf("node %s: %w", id, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return unknown, fmt.Errorf("node %s: %w", id, err)
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return unknown, fmt.Errorf("node %s: %w", id, err)
		}
		return unknown, fmt.Errorf("node %s is not a replica: SHOW REPLICA STATUS is empty", id)
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return unknown, fmt.Errorf("node %s: %w", id, err)
	}
	for i, name := range columns {
		if name != "Seconds_Behind_Master" && name != "Seconds_Behind_Source" {
			continue
		}
		var seconds int64
		if !values[i].Valid {
			return unknown, nil // replication is stopped or still connecting
		}
		if _, err := fmt.Sscan(values[i].String, &seconds); err != nil {
			return unknown, fmt.Errorf("node %s: lag %q: %w", id, values[i].String, err)
		}
		return Report{Lag: time.Duration(seconds) * time.Second}, nil
	}
	return unknown, nil
}

// FixedChecker is a HealthChecker in memory, for tests and drills: a node has the health that Set gave it.
type FixedChecker struct {
	mu      sync.Mutex
	reports map[string]Report
	errs    map[string]error
}

// Set fixes what Check answers for the node.
func (f *FixedChecker) Set(id string, r Report, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reports == nil {
		f.reports, f.errs = make(map[string]Report), make(map[string]error)
	}
	f.reports[id], f.errs[id] = r, err
}

// Check returns what was Set; a node never set has an unknown lag.
func (f *FixedChecker) Check(ctx context.Context, id string, db *sql.DB) (Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Report{Lag: LagUnknown}, err
	}
	r, ok := f.reports[id]
	if !ok {
		return Report{Lag: LagUnknown}, f.errs[id]
	}
	return r, f.errs[id]
}
