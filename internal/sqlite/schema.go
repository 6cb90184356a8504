package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
)

// Own returns the name of ddb's own table of that short name.
func (e *engine) Own(name string) string { return quote(prefix + name) }

// OwnDatabase returns "": ddb's own tables stand beside the user's.
func (e *engine) OwnDatabase(string) string { return "" }

// DropStatement takes back a PRAGMA that is kept with the schema.
func (e *engine) DropStatement(kind, name string) string {
	if kind != "pragma" {
		return ""
	}
	return "PRAGMA " + name + " = 0"
}

// ownTables are the definitions behind dialect.OwnTables.
var ownTables = map[string]string{
	"meta": "k TEXT NOT NULL PRIMARY KEY, v BLOB",
	"journal": "seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, at INTEGER NOT NULL, final INTEGER NOT NULL, " +
		"records INTEGER NOT NULL, bytes INTEGER NOT NULL, hash BLOB, payload BLOB",
	"journal_rest": "seq INTEGER NOT NULL, n INTEGER NOT NULL, payload BLOB, PRIMARY KEY (seq, n)",
	"followers":    "id TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL",
	"batches":      "id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER, at INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL, payload BLOB",
	"received":     "snap TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL",
	"deferred":     "id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, db TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL",
	"conflicts": "id TEXT NOT NULL PRIMARY KEY, at INTEGER, db TEXT, tbl TEXT, rowkey TEXT, base TEXT, local TEXT, remote TEXT, " +
		"origin TEXT, batch INTEGER, policy TEXT, outcome TEXT, reason TEXT, state TEXT",
	"captured": "id INTEGER PRIMARY KEY AUTOINCREMENT, db TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT NOT NULL",
}

// CreateOwn creates ddb's own tables where they are missing.
func (e *engine) CreateOwn(ctx context.Context, q dialect.Querier) error {
	n, err := integer(ctx, q, "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name IN ('_ddb_"+strings.Join(dialect.OwnTables, "', '_ddb_")+"')")
	if err != nil {
		return fmt.Errorf("own tables: %w", err)
	}
	if int(n) == len(dialect.OwnTables) {
		return nil
	}
	err = e.atomic(ctx, q, func(q dialect.Querier) error {
		for _, name := range dialect.OwnTables {
			if err := run(ctx, q, "CREATE TABLE IF NOT EXISTS "+e.Own(name)+" ("+ownTables[name]+")"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("own tables: %w", err)
	}
	return nil
}

// Version returns the schema cookie, which SQLite raises with every schema statement.
func (e *engine) Version(ctx context.Context, q dialect.Querier) (string, error) {
	v, err := text(ctx, q, "PRAGMA main.schema_version")
	if err != nil {
		return "", fmt.Errorf("version: %w", err)
	}
	return v, nil
}

// Transactional reports true: SQLite's schema statements roll back.
func (e *engine) Transactional() bool { return true }

// Objects lists tables, then indexes, views and triggers, each as they were made.
// Virtual tables are not replicated and so not listed. Then come the program's numbers in the file, where they are not 0.
func (e *engine) Objects(ctx context.Context, q dialect.Querier) ([]dialect.Object, error) {
	list, err := e.objects(ctx, q, "main")
	if err != nil {
		return nil, err
	}
	for _, name := range marks {
		v, err := integer(ctx, q, "PRAGMA main."+name)
		if err != nil {
			return nil, fmt.Errorf("objects: %w", err)
		}
		if v != 0 {
			list = append(list, dialect.Object{Kind: "pragma", Name: name, SQL: fmt.Sprintf("PRAGMA %s = %d", name, v)})
		}
	}
	return list, nil
}

// marks are the numbers that programs keep in a database file, beside its tables.
var marks = []string{"user_version", "application_id"}

// objects is Objects for an attached database.
func (e *engine) objects(ctx context.Context, q dialect.Querier, schema string) ([]dialect.Object, error) {
	var list []dialect.Object
	var o dialect.Object
	err := each(ctx, q, `WITH l AS MATERIALIZED (SELECT name, type FROM pragma_table_list WHERE schema = '`+schema+`' AND type IN ('shadow', 'virtual'))
		SELECT type, name, sql, CASE WHEN type IN ('index', 'trigger') THEN tbl_name ELSE '' END FROM `+schema+`.sqlite_schema
		WHERE sql IS NOT NULL AND name NOT IN (SELECT name FROM l) AND tbl_name NOT IN (SELECT name FROM l) AND substr(name, 1, 7) <> 'sqlite_'
		ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 WHEN 'view' THEN 3 ELSE 4 END, rowid`,
		[]any{&o.Kind, &o.Name, &o.SQL, &o.Table}, func() error {
			if own(o.Name) {
				return nil
			}
			o.SQL = unguard(o.SQL)
			list = append(list, o)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	return list, nil
}

// Counters lists the statements that give a new copy of the tables the highest keys that AUTOINCREMENT has ever
// handed out (https://sqlite.org/autoinc.html): rows alone do not tell of keys that were deleted since.
func (e *engine) Counters(ctx context.Context, q dialect.Querier) ([]dialect.Object, error) {
	var list []dialect.Object
	var name string
	var seq int64
	err := each(ctx, q, "SELECT name, seq FROM main.sqlite_sequence WHERE typeof(seq) = 'integer'", []any{&name, &seq}, func() error {
		if !own(name) {
			list = append(list, dialect.Object{Kind: "counter", Name: name, SQL: fmt.Sprintf("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %d)", literal(name), seq)})
		}
		return nil
	})
	if missing(err) { // no table has such keys
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("counters: %w", err)
	}
	return list, nil
}

// Database returns "": a node has one database.
func (e *engine) Database(context.Context, dialect.Querier) (string, error) { return "", nil }

// Run executes a schema statement.
func (e *engine) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	if s.Timestamp == 0 {
		s.Timestamp = time.Now().UnixNano()
	}
	if err := replicable(s.SQL); err != nil {
		return err
	}
	err := e.atomic(ctx, c, func(q dialect.Querier) error {
		_, err := q.ExecContext(ctx, s.SQL)
		return err
	})
	if err != nil && strings.Contains(err.Error(), "trigger "+prefix) {
		// DROP COLUMN fails for a column that a capture trigger notes. InstallCapture,
		// due after every schema statement, makes the triggers anew.
		err = e.atomic(ctx, c, func(q dialect.Querier) error {
			e.bared.Store(true)
			if err := e.dropCaptureTriggers(ctx, q); err != nil {
				return err
			}
			_, err := q.ExecContext(ctx, s.SQL)
			return err
		})
	}
	if err != nil {
		return err
	}
	return nil
}

// replicable refuses schema statements that mean something else, or nothing, on another node.
func replicable(statement string) error {
	list := tokens(statement)
	if len(list) == 0 {
		return nil
	}
	word := func(i int, ws ...string) bool {
		for _, w := range ws {
			if i < len(list) && list[i].is(w) {
				return true
			}
		}
		return false
	}
	switch {
	case word(0, "ATTACH", "DETACH"):
		return fmt.Errorf("%s cannot be replicated; give each file a ddb of its own", strings.ToUpper(list[0].text))
	case word(0, "CREATE") && word(1, "TEMP", "TEMPORARY"):
		return fmt.Errorf("temporary objects belong to one connection and cannot be replicated; run the statement on the node's own *sql.DB")
	case word(0, "CREATE") && word(1, "VIRTUAL"):
		return fmt.Errorf("virtual tables cannot be replicated; run the statement on each node's own *sql.DB")
	case word(0, "VACUUM"):
		return fmt.Errorf("VACUUM is no schema statement; run it on each node's own *sql.DB")
	}
	for i, t := range list {
		if t.kind != 's' && own(t.name()) && i > 0 && !word(0, "SELECT") {
			return fmt.Errorf("names that begin with %s are ddb's own: %s", prefix, t.text)
		}
	}
	return nil
}

// SingleWriter tells ddb to group writes: one connection writes at a time.
func (e *engine) SingleWriter() bool { return true }

// Functions lists the names of the functions that the program, or an extension, has registered.
func (e *engine) Functions(ctx context.Context, q dialect.Querier) (names []string, err error) {
	var name string
	err = each(ctx, q, "SELECT DISTINCT name FROM pragma_function_list WHERE NOT builtin ORDER BY name", []any{&name}, func() error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("functions: %w", err)
	}
	return names, nil
}

// FoldsNames reports true: SQLite compares names without regard to case.
func (e *engine) FoldsNames(context.Context, dialect.Querier) (bool, error) { return true, nil }
