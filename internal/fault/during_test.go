package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// An error says once that it is ddb's, and what was being done as the outermost door that knows says it.
func TestDuring(t *testing.T) {
	busy := fmt.Errorf("node s: %w", ErrBusy)
	for name, test := range map[string]struct {
		err         error
		text, plain string
	}{
		"nil":                   {err: During("exec", nil)},
		"ours nil":              {err: Ours(nil)},
		"a door":                {During("exec", busy), "ddb: exec: node s: another transaction holds the writer", "node s: another transaction holds the writer"},
		"the database's":        {During("exec", io.EOF), "ddb: exec: EOF", "EOF"},
		"closed":                {During("exec", ErrClosed), "ddb: the cluster is closed", "the cluster is closed"},
		"of a driver":           {Ours(busy), "ddb: node s: another transaction holds the writer", "node s: another transaction holds the writer"},
		"a driver's own":        {Ours(io.EOF), "EOF", "EOF"},
		"a door over a driver":  {During("query", Ours(busy)), "ddb: query: node s: another transaction holds the writer", "node s: another transaction holds the writer"},
		"a door in a door":      {During("forget", During("exec", busy)), "ddb: exec: node s: another transaction holds the writer", "node s: another transaction holds the writer"},
		"a door within":         {During("open", errors.Join(During("exec", busy), io.EOF)), "ddb: exec: node s: another transaction holds the writer\nEOF", "node s: another transaction holds the writer\nEOF"},
		"no door":               {busy, "node s: another transaction holds the writer", "node s: another transaction holds the writer"},
		"what another has told": {During("exec", errors.New(Plain(During("exec", busy)))), "ddb: exec: node s: another transaction holds the writer", "node s: another transaction holds the writer"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.text == "" {
				require.NoError(t, test.err)
				return
			}
			require.EqualError(t, test.err, test.text)
			require.Equal(t, test.plain, Plain(test.err))
		})
	}
	require.ErrorIs(t, During("query", Ours(busy)), ErrBusy)
	require.Same(t, io.EOF, Ours(io.EOF), "database/sql compares it")
}
