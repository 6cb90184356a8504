package console_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// asked is a statement and who may run it: "read" all three roles, "write" all but the reader, "admin" only the
// administrator, "nobody" not even he.
type asked struct{ who, sql string }

// hostile are statements that are more than they look like, and some that look like more than they are. The table t has a row,
// other.t is a table of another database, writes() a function that inserts into t, v a view of it, p a procedure that does
// the same.
var hostile = map[string][]asked{
	"sqlite": {
		{"read", "SELECT * FROM t"},
		{"read", "SELECT 'DROP TABLE t; DELETE FROM t' AS s -- DELETE"},
		{"read", "WITH x AS (SELECT id FROM t) SELECT count(*) FROM x"},
		{"read", "EXPLAIN SELECT * FROM t"},
		{"read", "EXPLAIN QUERY PLAN SELECT * FROM t"},
		{"read", "PRAGMA table_info(t)"},
		{"read", "BEGIN; SELECT * FROM t; ROLLBACK"},
		{"write", "INSERT INTO t (id, s) VALUES (100, 'x')"},
		{"write", "UPDATE t SET s = 'x' WHERE id = 1"},
		{"write", "DELETE FROM t WHERE id = 1"},
		{"write", "WITH x AS (SELECT 101 i) INSERT INTO t (id) SELECT i FROM x"},
		{"write", "WITH x AS (SELECT 1 i) DELETE FROM t WHERE id IN (SELECT i FROM x)"},
		{"write", "REPLACE INTO t (id, s) VALUES (1, 'x')"},
		{"write", "INSERT INTO t (id) VALUES (102) RETURNING id"},
		{"write", "SELECT 1; DELETE FROM t"},
		{"write", "BEGIN; DELETE FROM t; COMMIT"},
		{"write", "EXPLAIN DELETE FROM t"},
		{"write", "BEGIN IMMEDIATE; COMMIT"},
		{"write", "/* SELECT */ DELETE FROM t"},
		{"admin", "DROP TABLE t"},
		{"admin", "CREATE TABLE evil (id INTEGER PRIMARY KEY)"},
		{"write", "CREATE TEMP TABLE evil (id INTEGER PRIMARY KEY)"},
		{"admin", "CREATE TRIGGER evil AFTER INSERT ON t BEGIN DELETE FROM t; END"},
		{"admin", "CREATE VIEW evil AS SELECT * FROM t"},
		{"admin", "ALTER TABLE t ADD COLUMN evil"},
		{"admin", "SELECT 1; DROP TABLE t"},
		{"admin", "ATTACH '%FILE%' AS evil"},
		{"admin", "VACUUM INTO '%FILE%'"},
		{"admin", "VACUUM"},
		{"admin", "REINDEX"},
		{"admin", "PRAGMA user_version = 99"},
		{"admin", "PRAGMA foreign_keys = OFF"},
		{"admin", "PRAGMA writable_schema = ON"},
		{"admin", "PRAGMA journal_mode = DELETE"},
		{"admin", "PRAGMA wal_checkpoint(TRUNCATE)"},
		{"admin", "PRAGMA temp_store_directory = '/tmp'"},
		{"admin", "SELECT load_extension('%FILE%')"},
		{"admin", "DETACH main"},
		{"nobody", "DELETE FROM _ddb_journal"},
		{"nobody", `DELETE FROM "_ddb_journal"`},
		{"nobody", "DELETE FROM [_ddb_meta]"},
		{"nobody", "DELETE FROM main._ddb_meta"},
		{"nobody", "UPDATE _DDB_META SET value = ''"},
		{"nobody", "DROP TABLE `_ddb_journal`"},
		{"nobody", "WITH x AS (SELECT 1) DELETE FROM _ddb_journal"},
		{"nobody", "INSERT INTO t (id) SELECT 5000 FROM _ddb_meta"},
		{"nobody", "CREATE VIEW evil AS SELECT * FROM _ddb_meta"},
		{"nobody", "DROP TRIGGER _ddb_1_i"},
	},
	"mariadb": {
		{"read", "SELECT * FROM t"},
		{"read", "SELECT 'DROP TABLE t; INTO OUTFILE' AS s -- DELETE"},
		{"read", "WITH x AS (SELECT id FROM t) SELECT count(*) FROM x"},
		{"read", "EXPLAIN SELECT * FROM t"},
		{"read", "SHOW TABLES"},
		{"read", "SHOW CREATE TABLE t"},
		{"read", "BEGIN; SELECT * FROM t; ROLLBACK"},
		{"write", "INSERT INTO t (id, s) VALUES (100, 'x')"},
		{"write", "UPDATE t SET s = 'x' WHERE id = 1"},
		{"write", "DELETE FROM t WHERE id = 1"},
		{"write", "REPLACE INTO t (id, s) VALUES (1, 'x')"},
		{"write", "INSERT INTO t (id) VALUES (102) RETURNING id"},
		{"write", "SELECT 1; DELETE FROM t"},
		{"write", "BEGIN; DELETE FROM t; COMMIT"},
		{"write", "EXPLAIN DELETE FROM t"},
		{"write", "ANALYZE DELETE FROM t"},
		{"write", "ANALYZE FORMAT=JSON UPDATE t SET s = 'x'"},
		{"write", "SELECT * FROM t FOR UPDATE"},
		{"write", "/*! DELETE FROM t */"},
		{"write", "/*!50000 UPDATE t SET s = 'x' */"},
		{"write", "SELECT writes()"},
		{"write", "SELECT * FROM v"},
		{"write", "SELECT 1 FROM (SELECT * FROM v) x"},
		{"admin", "DROP TABLE t"},
		{"admin", "TRUNCATE t"},
		{"admin", "CREATE TABLE evil (id INT PRIMARY KEY)"},
		{"write", "CREATE TEMPORARY TABLE evil (id INT PRIMARY KEY)"},
		{"admin", "CREATE OR REPLACE VIEW evil AS SELECT * FROM t"},
		{"admin", "RENAME TABLE t TO evil"},
		{"admin", "EXECUTE IMMEDIATE 'DROP TABLE t'"},
		{"admin", "EXECUTE IMMEDIATE CONCAT('DROP ', 'TABLE t')"},
		{"admin", "PREPARE x FROM 'DROP TABLE t'; EXECUTE x"},
		{"admin", "BEGIN NOT ATOMIC DROP TABLE t; END"},
		{"admin", "BEGIN NOT ATOMIC EXECUTE IMMEDIATE 'DELETE FROM t'; END"},
		{"admin", "IF 1 THEN DROP TABLE t; END IF"},
		{"admin", "/*!50000 DROP TABLE t */"},
		{"admin", "/*M! TRUNCATE t */"},
		{"admin", "CALL p()"},
		{"admin", "LOAD DATA INFILE '%FILE%' INTO TABLE t"},
		{"admin", "LOAD DATA LOCAL INFILE '%FILE%' INTO TABLE t"},
		{"admin", "SELECT * FROM t INTO OUTFILE '%FILE%'"},
		{"admin", "SELECT s INTO OUTFILE '%FILE%' FROM t"},
		{"admin", "SELECT s FROM t LIMIT 1 INTO DUMPFILE '%FILE%'"},
		{"admin", "SELECT load_file('/etc/passwd')"},
		{"admin", "INSERT INTO t (id, s) VALUES (1000, load_file('/etc/passwd'))"},
		{"admin", "SELECT sleep(0), user, host FROM mysql.user"},
		{"admin", "SELECT * FROM `mysql`.`global_priv`"},
		{"admin", "SELECT * FROM mysql . user"},
		{"admin", "INSERT INTO mysql.global_priv VALUES ('%', 'evil', '{}')"},
		{"admin", "UPDATE mysql.global_priv SET priv = '{}'"},
		{"admin", "DELETE t FROM t, mysql.user"},
		{"admin", "INSERT INTO other.t VALUES (2)"},
		{"admin", "SELECT * FROM other.t"},
		{"admin", "SHOW GRANTS"},
		{"admin", "SHOW GRANTS FOR CURRENT_USER"},
		{"admin", "SHOW CREATE USER"},
		{"admin", "SHOW CREATE USER CURRENT_USER"},
		{"admin", "SHOW PROCESSLIST"},
		{"admin", "SHOW BINARY LOGS"},
		{"admin", "CREATE USER evil"},
		{"admin", "GRANT ALL ON *.* TO evil"},
		{"admin", "SET PASSWORD = PASSWORD('evil')"},
		{"admin", "SET GLOBAL max_connections = 1"},
		{"admin", "SET @@global.read_only = 1"},
		{"admin", "SET GLOBAL general_log_file = '%FILE%'"},
		{"admin", "KILL 1"},
		{"admin", "SHUTDOWN"},
		{"admin", "FLUSH TABLES WITH READ LOCK"},
		{"admin", "LOCK TABLES t WRITE"},
		{"admin", "INSTALL SONAME 'evil'"},
		{"admin", "HANDLER t OPEN"},
		{"write", "DO writes()"},
		{"admin", "USE mysql"},
		{"nobody", "DELETE FROM `%DB%_ddb`.journal"},
		{"nobody", "DELETE FROM %DB%_ddb . journal"},
		{"nobody", "DELETE j FROM %DB%_ddb.journal j"},
		{"nobody", "UPDATE t, %DB%_ddb.meta SET t.s = 'x'"},
		{"nobody", "DROP DATABASE %DB%_ddb"},
		{"nobody", "DROP TABLE %DB%_ddb.journal"},
		{"nobody", "CREATE OR REPLACE VIEW evil AS SELECT * FROM %DB%_ddb.meta"},
	},
}

// roles are in the order of what they may.
var roles = []console.Access{console.Read, console.Write, console.Admin}

// Who may run a statement is so whatever it is wrapped in, and one that is refused has done nothing.
func TestHostileStatements(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		h := build(t, e, console.Options{Token: "admin", Tokens: map[string]console.Access{"read": console.Read, "write": console.Write}})
		file := filepath.Join(t.TempDir(), "evil")
		replace := h.prepareHostile(file)
		before := h.fingerprint(file)
		for _, c := range hostile[e.name] {
			text := replace.Replace(c.sql)
			for _, role := range roles {
				if c.who == "admin" && role == console.Admin {
					assert.NoError(t, h.master.Allow(text, everything), text) // not run: it may be the end of the server
					continue
				}
				h.token = role.String()
				code, _, body := h.call("POST", "/api/sql", map[string]any{"sql": text})
				if c.may(role) {
					assert.NotEqual(t, 403, code, "%s as %s: %s", text, role, body)
					h.restoreHostile()
					continue
				}
				if assert.Equal(t, 403, code, "%s as %s: %s", text, role, body) {
					assert.Contains(t, string(body), "not allowed", text)
				}
				require.Equal(t, before, h.fingerprint(file), "%s as %s", text, role)
			}
		}
	})
}

// Import and export are the whole database.
func TestTransferNeedsAdmin(t *testing.T) {
	h := build(t, engines[0], console.Options{Token: "admin", Tokens: map[string]console.Access{"read": console.Read, "write": console.Write}})
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	for _, role := range roles {
		h.token = role.String()
		want := map[console.Access]int{console.Admin: 200}[role]
		if want == 0 {
			want = 403
		}
		code, _, _ := h.call("GET", "/api/export.sql", nil)
		require.Equal(t, want, code, role)
		code, _, _ = h.call("POST", "/api/import", strings.NewReader("INSERT INTO t VALUES (NULL);"))
		require.Equal(t, want, code, role)
	}
	require.Equal(t, 1, count(h.master, "SELECT count(*) FROM t"))
}

const everything = ddb.ReadRows | ddb.ChangeRows | ddb.ChangeSchema | ddb.Administer

func (a asked) may(role console.Access) bool {
	switch a.who {
	case "read":
		return true
	case "write":
		return role >= console.Write
	case "admin":
		return role >= console.Admin
	}
	return false
}

// prepareHostile makes what the statements speak of, and returns what their placeholders stand for.
func (h *house) prepareHostile(file string) *strings.Replacer {
	ctx := testContext(h.t)
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, s VARCHAR(100))")
	database := ""
	if h.engine.name == "mariadb" {
		require.NoError(h.t, h.db.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&database))
		_, err := h.db.ExecContext(ctx, "CREATE OR REPLACE DATABASE "+database+"_other")
		require.NoError(h.t, err)
		h.t.Cleanup(func() { h.db.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+database+"_other") })
		_, err = h.db.ExecContext(ctx, "CREATE TABLE "+database+"_other.t (id INT PRIMARY KEY)")
		require.NoError(h.t, err)
		h.exec("CREATE FUNCTION writes() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t (id) VALUES (7777); RETURN 1; END")
		h.exec("CREATE VIEW v AS SELECT writes() AS x")
		h.exec("CREATE PROCEDURE p() MODIFIES SQL DATA INSERT INTO t (id) VALUES (8888)")
	}
	h.restoreHostile()
	return strings.NewReplacer("%FILE%", file, "%DB%", database, "other.t", database+"_other.t")
}

// restoreHostile undoes what an allowed statement has done.
func (h *house) restoreHostile() {
	h.exec("DELETE FROM t")
	h.exec("INSERT INTO t (id, s) VALUES (1, 'one')")
	require.NoError(h.t, h.master.WaitLevel(testContext(h.t)))
}

// fingerprint is all that a statement could have changed: rows, objects, accounts, settings and files.
func (h *house) fingerprint(file string) string {
	queries := []string{"SELECT id, s FROM t", "SELECT type, name, sql FROM sqlite_schema ORDER BY name", "PRAGMA user_version", "PRAGMA journal_mode", "PRAGMA foreign_keys"}
	if h.engine.name == "mariadb" {
		queries = []string{"SELECT id, s FROM t", "SELECT table_schema, table_name, create_time FROM information_schema.tables WHERE table_schema NOT IN ('information_schema', 'performance_schema', 'sys') ORDER BY 1, 2",
			"SELECT routine_name FROM information_schema.routines ORDER BY 1", "SELECT host, user, priv FROM mysql.global_priv ORDER BY 1, 2",
			"SELECT variable_value FROM information_schema.global_variables WHERE variable_name IN ('MAX_CONNECTIONS', 'READ_ONLY', 'GENERAL_LOG_FILE')",
			"SELECT name FROM mysql.plugin"}
	}
	var b strings.Builder
	for _, q := range queries {
		rows, err := h.db.QueryContext(testContext(h.t), q)
		require.NoError(h.t, err, q)
		dump(h.t, &b, rows)
	}
	if _, err := os.Stat(file); err == nil {
		b.WriteString("the file is there\n")
	}
	return b.String()
}

func dump(t *testing.T, b *strings.Builder, rows *sql.Rows) {
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		require.NoError(t, rows.Scan(into...))
		fmt.Fprintln(b, values)
	}
	require.NoError(t, rows.Err())
}
