package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/remedy"
	"github.com/ddb-project/ddb/transport"
)

// What a program can do about an error is said in its flags, in an error that Main prints and in one that is logged.
func TestLine(t *testing.T) {
	db := testdb.OpenSQLite(t, filepath.Join(t.TempDir(), "node.db"))
	c, err := ddb.Open(t.Context(), db, ddb.Options{Logger: hclog.NewNullLogger()})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, err = ddb.Open(t.Context(), db, ddb.Options{ID: "s", Role: ddb.Snap, Master: "nowhere:1", Transport: noTransport{}, Logger: hclog.NewNullLogger()})
	require.ErrorIs(t, err, ddb.ErrWrongRole)
	line := Line(fmt.Errorf("open: %w", err))
	require.Contains(t, line, "run the program master on it, or take it out of the cluster first, or add --rejoin")
	require.NotContains(t, line, "Role")
	require.NotContains(t, line, "Detach")

	var out strings.Builder
	log := flagLogger{hclog.New(&hclog.LoggerOptions{Output: &out})}.With("node", "s").Named("ddb")
	log.Error("cannot open", "error", err)
	require.Contains(t, out.String(), "add --rejoin")
	require.NotContains(t, out.String(), "Rejoin")
}

type noTransport struct{ transport.Transport }

// Each action has words of the command line.
func TestFlagFor(t *testing.T) {
	for _, a := range []remedy.Action{remedy.SetKey, remedy.CheckKey, remedy.NewKey, remedy.ClientCertificates, remedy.AllowInsecure, remedy.DialTLS, remedy.ListenTLS,
		remedy.SetMaster, remedy.CheckMaster, remedy.Rejoin, remedy.SetID, remedy.SetRole, remedy.Detach, remedy.Begin, remedy.OwnConn} {
		require.NotContains(t, flagFor(remedy.Remedy{Action: a, Value: "v", Text: "set Options"}), "Options", "%s", a)
	}
	require.Equal(t, "wait", flagFor(remedy.Remedy{Text: "wait"}))
	require.Equal(t, "one; two", Line(errors.New("one\ntwo")))
}
