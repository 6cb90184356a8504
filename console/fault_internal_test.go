package console

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	mysqlDialect "github.com/ddb-project/ddb/dialect/mysql"
	sqliteDialect "github.com/ddb-project/ddb/dialect/sqlite"
)

// sqliteError is an error of SQLite's driver as far as it tells.
type sqliteError int

func (e sqliteError) Error() string { return "sqlite: error " + strconv.Itoa(int(e)) }
func (e sqliteError) Code() int     { return int(e) }

// Each error that the library has a name for has a status, and so have those of the databases that are nobody's mistake.
func TestStatuses(t *testing.T) {
	named := map[string]error{
		"ErrOptions": ddb.ErrOptions, "ErrSecondMaster": ddb.ErrSecondMaster, "ErrWrongRole": ddb.ErrWrongRole, "ErrPrivilege": ddb.ErrPrivilege,
		"ErrClosed": ddb.ErrClosed, "ErrReadOnly": ddb.ErrReadOnly, "ErrNotMaster": ddb.ErrNotMaster, "ErrNoMaster": ddb.ErrNoMaster,
		"ErrNotConfirmed": ddb.ErrNotConfirmed, "ErrBusy": ddb.ErrBusy, "ErrNotReplicable": ddb.ErrNotReplicable, "ErrDiskFull": ddb.ErrDiskFull,
		"ErrNotAllowed": ddb.ErrNotAllowed, "ErrStale": ddb.ErrStale, "ErrVersion": ddb.ErrVersion, "ErrOtherCluster": ddb.ErrOtherCluster,
		"ErrForked": ddb.ErrForked, "ErrOldEpoch": ddb.ErrOldEpoch, "ErrUnknownNode": ddb.ErrUnknownNode, "ErrUnknownMaster": ddb.ErrUnknownMaster, "ErrDuplicateID": ddb.ErrDuplicateID,
		"ErrDamaged": ddb.ErrDamaged, "ErrGap": ddb.ErrGap, "ErrTrimmed": ddb.ErrTrimmed, "ErrDiverged": ddb.ErrDiverged,
		"ErrTooLarge": ddb.ErrTooLarge, "ErrQueueFull": ddb.ErrQueueFull, "ErrUnsettled": ddb.ErrUnsettled, "ErrNoConflict": ddb.ErrNoConflict,
	}
	for _, name := range sentinels(t, "../errors.go") {
		err := named[name]
		require.Error(t, err, "%s is new: say here what it is, and in statuses what it is answered with", name)
		found := 0
		for _, s := range statuses {
			if s.err == err {
				found++
			}
		}
		require.Equal(t, 1, found, "%s stands that often in statuses", name)
	}
	h := &Handler{means: func(err error) dialect.Fault {
		return sqliteDialect.Dialect().Fault(err) | mysqlDialect.Dialect().Fault(err)
	}}
	for want, errs := range map[int][]error{
		403: {ddb.ErrNotAllowed},
		404: {ddb.ErrNoConflict},
		409: {ddb.ErrNotMaster, ddb.ErrReadOnly},
		413: {ddb.ErrTooLarge, &http.MaxBytesError{Limit: 1}},
		422: {ddb.ErrNotReplicable},
		499: {context.Canceled},
		503: {ddb.ErrBusy, ddb.ErrNoMaster, ddb.ErrStale, ddb.ErrQueueFull, errTooMany, sqliteError(5), sqliteError(6 | 1<<8),
			&mysql.MySQLError{Number: 1040}, &mysql.MySQLError{Number: 1205}, &mysql.MySQLError{Number: 1213}},
		504: {context.DeadlineExceeded, ddb.ErrNotConfirmed},
		507: {ddb.ErrDiskFull},
		400: {errors.New("no such table"), sqliteError(1), &mysql.MySQLError{Number: 1064}},
	} {
		for _, err := range errs {
			w := httptest.NewRecorder()
			h.failWith(w, fmt.Errorf("ddb: exec: %w", err))
			require.Equal(t, want, w.Code, err)
			require.Equal(t, want == 503, w.Header().Get("Retry-After") != "", err)
			require.Contains(t, w.Body.String(), "error")
		}
	}
}

// docs/api.md tells of each status that an error can have.
func TestStatusesDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	for _, s := range statuses {
		if s.status != statusGone { // which nobody sees
			require.Contains(t, string(page), fmt.Sprintf("\n| %d |", s.status), s.err)
		}
	}
}

// sentinels returns the names of the exported errors that a file declares.
func sentinels(t *testing.T, file string) (names []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Err") {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	require.Greater(t, len(names), 20)
	return names
}
