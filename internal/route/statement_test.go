package route_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

func TestStatement(t *testing.T) {
	type is struct{ blank, read, schema, temporary, changes, leaves, several, hides, spans, ends, insert, last, dynamic, unread bool }
	for _, c := range []struct {
		class sqlclass.Dialect
		text  string
		is    is
	}{
		{sqlclass.SQLite, "", is{blank: true}},
		{sqlclass.SQLite, " -- nothing", is{blank: true}},
		{sqlclass.MySQL, "", is{}},
		{sqlclass.SQLite, "SELECT 1", is{read: true}},
		{sqlclass.SQLite, "INSERT INTO t VALUES (1)", is{insert: true}},
		{sqlclass.SQLite, "UPDATE t SET a = last_insert_rowid()", is{last: true}},
		{sqlclass.SQLite, "SELECT last_insert_rowid()", is{last: true}},
		{sqlclass.SQLite, "CREATE TABLE t (a)", is{schema: true, changes: true}},
		{sqlclass.SQLite, "CREATE TEMP TABLE t (a)", is{schema: true, temporary: true, leaves: true}},
		{sqlclass.SQLite, "PRAGMA foreign_keys = OFF", is{leaves: true}},
		{sqlclass.SQLite, "COMMIT", is{ends: true}},
		{sqlclass.SQLite, "ROLLBACK TO s", is{}},
		{sqlclass.SQLite, "SAVEPOINT s", is{}},
		{sqlclass.SQLite, "UPDATE t SET a = 1; DELETE FROM t", is{several: true}},
		{sqlclass.SQLite, "DELETE FROM t; CREATE TABLE u (a)", is{several: true, hides: true}},
		{sqlclass.SQLite, "DELETE FROM t; CREATE TEMP TABLE u (a)", is{several: true, leaves: true}},
		{sqlclass.SQLite, "DELETE FROM t; INSERT INTO t VALUES (1); COMMIT", is{several: true, leaves: true, spans: true, ends: true, insert: true}},
		{sqlclass.MySQL, "SELECT ';' FROM t", is{read: true, several: true}},
		{sqlclass.MySQL, "SET @a = 1", is{leaves: true}},
		{sqlclass.MySQL, "CALL p()", is{leaves: true}},
		{sqlclass.MySQL, "EXECUTE s", is{leaves: true, dynamic: true}},
		{sqlclass.MySQL, "CREATE TEMPORARY TABLE t (a INT)", is{schema: true, temporary: true, leaves: true}},
		{sqlclass.MySQL, "DELETE FROM t; ALTER TABLE t ADD b INT", is{several: true, hides: true}},
		{sqlclass.SQLite, "DROP TABLE t; SELECT 'open", is{several: true, insert: true, unread: true}},
	} {
		s := route.NewTexts(c.class, nil, nil, "").Read(c.text)
		require.Equal(t, c.text, s.SQL)
		got := is{blank: s.Blank, read: s.IsRead(), schema: s.IsSchema(), temporary: s.Temporary(), changes: s.ChangesSchema(), leaves: s.Leaves(), several: s.Several(),
			hides: s.HidesSchema(), spans: s.SpansTx(), ends: s.EndsTx(), insert: s.HasInsert(), last: s.AsksLast(), dynamic: s.Dynamic(), unread: s.Unread != nil}
		assert.Equal(t, c.is, got, "%s: %s", c.class, c.text)
	}
}

// What has been found out of a text is there when it comes again, if it is short enough to be kept, and its parts are read once.
func TestStatementIsReadOnce(t *testing.T) {
	k := route.NewTexts(sqlclass.SQLite, nil, nil, "")
	for _, c := range []struct {
		text string
		kept bool
	}{
		{"INSERT INTO t VALUES (1); DELETE FROM t", true},
		{"INSERT INTO t VALUES ('" + strings.Repeat("x", 4<<10) + "'); DELETE FROM t", false},
	} {
		s := k.Read(c.text)
		if c.kept {
			require.Same(t, s, k.Read(strings.Clone(c.text)))
		} else {
			require.NotSame(t, s, k.Read(c.text))
		}
		parts, err := s.Parts()
		require.NoError(t, err)
		require.Len(t, parts, 2)
		again, err := s.Parts()
		require.NoError(t, err)
		require.Same(t, &parts[0], &again[0])
	}
}
