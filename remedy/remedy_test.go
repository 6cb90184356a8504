package remedy_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/remedy"
)

func TestError(t *testing.T) {
	kind := errors.New("ddb: bad")
	role := remedy.Remedy{Action: remedy.SetRole, Value: "snap", Text: `open it with Role "snap"`}
	detach := remedy.Remedy{Action: remedy.Detach, Text: "Detach it first"}
	flags := func(r remedy.Remedy) string {
		switch r.Action {
		case remedy.SetRole:
			return "run the program " + r.Value
		case remedy.Detach:
			return ""
		}
		return r.Text
	}
	for name, test := range map[string]struct {
		err         error
		text, words string
	}{
		"kind, text and remedies": {remedy.New(kind, "it is a snap's", role, detach),
			`ddb: bad: it is a snap's; open it with Role "snap", or Detach it first`, "ddb: bad: it is a snap's; run the program snap"},
		"a cause":              {remedy.New(kind, "no answer", role).By(io.EOF), `ddb: bad: no answer; open it with Role "snap": EOF`, "ddb: bad: no answer; run the program snap: EOF"},
		"wrapped":              {fmt.Errorf("open: %w", remedy.New(nil, "no", role)), `open: no; open it with Role "snap"`, "open: no; run the program snap"},
		"joined":               {errors.Join(remedy.New(kind, "no", role), io.EOF), "ddb: bad: no; open it with Role \"snap\"\nEOF", "ddb: bad: no; run the program snap\nEOF"},
		"words for nothing":    {remedy.New(kind, "no", detach), "ddb: bad: no; Detach it first", "ddb: bad: no"},
		"no remedy":            {remedy.New(kind, "no"), "ddb: bad: no", "ddb: bad: no"},
		"another error":        {io.EOF, "EOF", "EOF"},
		"no words of its own":  {remedy.New(kind, "no", remedy.Remedy{Text: "wait"}), "ddb: bad: no; wait", "ddb: bad: no; wait"},
		"nothing but a remedy": {remedy.New(nil, "no", role), `no; open it with Role "snap"`, "no; run the program snap"},
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualError(t, test.err, test.text)
			again := remedy.Parse(kind, test.text, remedy.Of(test.err))
			require.Equal(t, strings.NewReplacer("ddb: bad: ", "", "\n", ": ").Replace(test.words), strings.TrimPrefix(remedy.Words(again, flags), "ddb: bad: "), "when another node has told it")
			require.Equal(t, test.words, remedy.Words(test.err, flags))
		})
	}
	err := fmt.Errorf("open: %w", remedy.New(kind, "no", role).By(io.EOF))
	require.ErrorIs(t, err, kind)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, []remedy.Remedy{role}, remedy.Of(err))
}
