package crashtest

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fate is what is known of a row.
type fate int

const (
	present  fate = iota + 1 // its insertion was acknowledged
	doubtful                 // its deletion was asked for, and the process was killed before an answer
	absent                   // its deletion was acknowledged
)

// ledger is what the processes said before they died.
type ledger struct {
	mu       sync.Mutex
	rows     map[string]fate
	counters map[string]int // the highest value acknowledged
	marks    []string       // of the local transactions that were acknowledged on snaps
}

func newLedger() *ledger { return &ledger{rows: map[string]fate{}, counters: map[string]int{}} }

// note takes a line of a child's report.
func (l *ledger) note(line string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "+":
		l.rows[rest] = present
	case "?":
		l.rows[rest] = doubtful
	case "-":
		l.rows[rest] = absent
	case "b":
		l.marks = append(l.marks, rest)
	case "n":
		var writer string
		var n int
		if _, err := fmt.Sscan(rest, &writer, &n); err != nil {
			return fmt.Errorf("report %q: %w", line, err)
		}
		l.counters[writer] = max(l.counters[writer], n)
	default:
		return fmt.Errorf("report %q", line)
	}
	return nil
}

// compare looks for everything acknowledged in the master's database.
func (l *ledger) compare(t *testing.T, db *sql.DB) {
	t.Helper()
	there := map[string]bool{}
	for _, id := range lines(t, db, "SELECT id FROM items") {
		there[id] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, f := range l.rows {
		if f == present && !there[id] {
			t.Errorf("row %s is missing, though its insertion was acknowledged", id)
		}
		if f == absent && there[id] {
			t.Errorf("row %s is back, though its deletion was acknowledged", id)
		}
	}
	for w, least := range l.counters {
		var n int
		require.NoError(t, db.QueryRow("SELECT n FROM counters WHERE w = ?", w).Scan(&n))
		if n < least {
			t.Errorf("counter %s is %d, though %d was acknowledged", w, n, least)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// String counts what was acknowledged.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n [absent + 1]int
	for _, f := range l.rows {
		n[f]++
	}
	sum := 0
	for _, c := range l.counters {
		sum += c
	}
	return fmt.Sprintf("acknowledged: %d rows inserted, %d of them deleted, %d deletions in doubt; counters raised to %d; %d local transactions of snaps", len(l.rows), n[absent], n[doubtful], sum, len(l.marks))
}
