package ddb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// A policy function that panics refuses the batch, like one that returns an error; the master goes on.
func TestSnapFuncPanics(t *testing.T) {
	engines(t, func(t *testing.T, e testEngine) {
		s := newShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"p": ddb.PolicyFunc("f", func(c ddb.Collision) (map[string]any, error) {
			c.Base["v"] = "x" // there is none where both sides insert
			return c.Local, nil
		})}}, pairSchema, "a")
		s.cut("a")
		s.exec("a", "INSERT INTO p VALUES (1, 1, 'snap', 0)")
		s.exec("master", "INSERT INTO p VALUES (1, 1, 'master', 0)")
		s.heal("a")
		s.exchange("a")
		s.same("p")
		require.Len(t, s.conflicts("a"), 1)
		require.Contains(t, s.conflicts("a")[0].Reason, "panicked")
	})
}
