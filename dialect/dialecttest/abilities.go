package dialecttest

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// testFault: what ddb decides by, the dialect tells of the errors of its own driver, wrapped or not.
func testFault(t *testing.T, h Harness) {
	w := open(t, h, nil)
	w.exec("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)", "INSERT INTO t VALUES (1, 1)")
	for _, c := range []struct {
		statement string
		means     dialect.Fault
	}{
		{"INSERT INTO t VALUES (1, 2)", dialect.Constraint},
		{"INSERT INTO t VALUES (2, NULL)", dialect.Constraint},
		{"SELECT * FROM missing", dialect.NoTable},
		{"INSERT INTO missing VALUES (1)", dialect.NoTable},
	} {
		_, err := w.db.ExecContext(w.ctx, c.statement)
		if err == nil {
			w.Fatalf("%s succeeds", c.statement)
		}
		for _, err := range []error{err, fmt.Errorf("wrapped: %w", err)} {
			if f := h.Dialect.Fault(err); !f.Is(c.means) || f.Is(dialect.Busy|dialect.Unable|dialect.Full|dialect.NodeDown) {
				w.Errorf("%s: Fault(%v) is %b, want %b in it and nothing that says that it may succeed another time", c.statement, err, f, c.means)
			}
		}
	}
	for _, err := range []error{nil, errors.New("anything"), sql.ErrNoRows} {
		if f := h.Dialect.Fault(err); f != 0 {
			w.Errorf("Fault(%v) is %b, want 0", err, f)
		}
	}
}
