package ddb_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// hostile are statements for which no node has the right by default; {dir} is a folder and {db} the master's database.
var hostile = map[string][]string{
	"sqlite": {
		"DROP TABLE t", "CREATE TABLE x (id INTEGER PRIMARY KEY)", "ALTER TABLE t ADD x INT", "CREATE VIEW w AS SELECT 1", "DROP VIEW v", "CREATE INDEX i ON t (n)",
		"PRAGMA foreign_keys = OFF", "PRAGMA writable_schema = ON", "PRAGMA user_version = 7", "PRAGMA journal_mode = DELETE", "PRAGMA wal_checkpoint(TRUNCATE)",
		"ATTACH DATABASE '{dir}/attached' AS a", "VACUUM INTO '{dir}/vacuumed'", "VACUUM", "REINDEX", "ANALYZE",
		"SELECT load_extension('{dir}/x')", "SELECT writefile('{dir}/written', 'x')", "SELECT fts3_tokenizer('simple')", "SELECT readfile('/etc/passwd')",
		"UPDATE sqlite_master SET sql = ''", "DELETE FROM sqlite_sequence",
		"DELETE FROM _ddb_journal", "DELETE FROM \"_DDB_journal\"", "DELETE FROM [_ddb_journal]", "DELETE FROM main.'_ddb_journal'", "UPDATE _ddb_meta SET v = NULL",
		"WITH c AS (SELECT 1) DELETE FROM _ddb_meta", "INSERT INTO _ddb_out_1 (k1) SELECT 1", "SELECT * FROM _ddb_meta",
		"DROP TRIGGER _ddb_1_ai", "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM _ddb_journal; END",
		"INSERT INTO t VALUES (9, 9); DROP TABLE t", "SELECT 1; ATTACH '{dir}/attached' AS a", "/* x */ DROP TABLE t", "EXPLAIN DROP TABLE t",
	},
	"mariadb": {
		"DROP TABLE t", "CREATE TABLE x (id INT PRIMARY KEY)", "TRUNCATE t", "RENAME TABLE t TO u", "CREATE DATABASE more", "DROP DATABASE `{db}`", "DROP FUNCTION bump",
		"EXECUTE IMMEDIATE 'DROP TABLE t'", "EXECUTE IMMEDIATE CONCAT('DROP', ' TABLE t')", "PREPARE s FROM 'DROP TABLE t'", "BEGIN NOT ATOMIC DROP TABLE t; END",
		"IF 1 THEN DROP TABLE t; END IF", "CALL p()", "CREATE PROCEDURE q() DROP TABLE t", "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM t",
		"UPDATE mysql.global_priv SET Priv = ''", "SELECT * FROM mysql.user", "INSERT INTO mysql.db (Host) VALUES ('x')", "DELETE FROM `{db}_ddb`.journal", "DELETE FROM `{db}_DDB`.journal",
		"UPDATE t, `{db}_ddb`.meta m SET m.v = ''", "DELETE m FROM t JOIN `{db}_ddb`.meta m", "REPLACE `{db}_ddb`.meta VALUES ('a', '')", "DROP DATABASE `{db}_ddb`", "USE `{db}_ddb`", "USE mysql",
		"SELECT * FROM t INTO OUTFILE '{dir}/out'", "SELECT n INTO DUMPFILE '{dir}/dump' FROM t LIMIT 1", "SELECT LOAD_FILE('/etc/passwd')", "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
		"SHOW GRANTS", "SHOW CREATE USER CURRENT_USER()", "SHOW PROCESSLIST", "SELECT * FROM information_schema.PROCESSLIST",
		"SET GLOBAL max_connections = 3", "SET @@global.max_connections = 3", "SET PASSWORD = PASSWORD('x')", "SET sql_log_bin = 0", "SET NAMES gbk",
		"GRANT ALL ON *.* TO x@'%' IDENTIFIED BY 'x'", "CREATE USER x", "FLUSH TABLES WITH READ LOCK", "LOCK TABLES t WRITE", "KILL 1", "SHUTDOWN", "HANDLER t OPEN",
		"/*!50000 DROP TABLE t */", "SELECT 1 /*!99999 */ /*!50000 ; DROP TABLE t */", "DELETE FROM t; DROP TABLE t", "SET STATEMENT max_statement_time = 1 FOR DROP TABLE t",
		"ANALYZE TABLE t", "XA START 'x'", "BACKUP STAGE START", "INSTALL SONAME 'x'", "SELECT 'a\\'; DROP TABLE t; -- '", "DROP TRIGGER ddb_1_ai",
		"CREATE TEMPORARY TABLE f (a INT) ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd'",
	},
}

// readerOnly are statements that change rows, or lock them, though they may not look like it.
var readerOnly = map[string][]string{
	"sqlite":  {"DELETE FROM t", "WITH c AS (SELECT 1) DELETE FROM t", "EXPLAIN DELETE FROM t", "INSERT INTO t VALUES (5, 5) RETURNING n", "SELECT 1; DELETE FROM t"},
	"mariadb": {"DELETE FROM t", "SELECT * FROM v", "SELECT bump()", "DO bump()", "SET @x = bump()", "SELECT * FROM (SELECT * FROM over_v) d", "EXPLAIN DELETE FROM t", "ANALYZE DELETE FROM t", "SELECT * FROM t FOR UPDATE", "SELECT 1; DELETE FROM t"},
}

// thief is a cluster whose follower's key has been stolen: its connections to the master take any statement.
type thief struct {
	*testcluster.Fixture
	dir string
	to  *sql.DB
}

func newThief(t *testing.T, engine testcluster.Engine, nodes map[string]ddb.NodeAccess) *thief {
	f := testcluster.NewFixture(t, engine, 1)
	f.Tune = func(o *ddb.Options) {
		if o.Role != ddb.Replica {
			o.Nodes = nodes
		}
	}
	f.OpenAll()
	f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, 1), (2, 2)")
	if engine == "sqlite" {
		f.Do("CREATE VIEW v AS SELECT n FROM t")
	} else {
		f.Do("CREATE FUNCTION bump() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE t SET n = n + 1; RETURN 1; END",
			"CREATE VIEW v AS SELECT bump() AS n", "CREATE VIEW over_v AS SELECT v.n FROM v", "CREATE PROCEDURE p() DELETE FROM t")
	}
	require.NoError(t, f.Master.WaitLevel(f.Ctx))
	return &thief{Fixture: f, dir: t.TempDir(), to: ddb.ToMain(f.Replicas[0].Cluster)}
}

// refuses runs the statements in every way that a stream has, and looks whether anything has changed.
func (h *thief) refuses(statements []string) {
	h.Helper()
	before := h.Dump(h.Master)
	for _, s := range statements {
		s = strings.NewReplacer("{dir}", h.dir, "{db}", h.Master.Name).Replace(s)
		for way, run := range map[string]func(ctx context.Context, s string) error{
			"exec":    func(ctx context.Context, s string) error { _, err := h.to.ExecContext(ctx, s); return err },
			"query":   func(ctx context.Context, s string) error { return testcluster.Drain(h.to.QueryContext(ctx, s)) },
			"prepare": func(ctx context.Context, s string) error { _, err := h.to.PrepareContext(ctx, s); return err },
			"conn": func(ctx context.Context, s string) error {
				c, err := h.to.Conn(ctx)
				if err != nil {
					return err
				}
				defer c.Close()
				return testcluster.Drain(c.QueryContext(ctx, s))
			},
		} {
			require.ErrorIs(h, run(h.Ctx, s), ddb.ErrNotAllowed, "%s: %s", way, s)
		}
	}
	require.NoError(h, h.Master.WaitLevel(h.Ctx))
	require.Equal(h, before, h.Dump(h.Master))
	files, err := os.ReadDir(h.dir)
	require.NoError(h, err)
	require.Empty(h, files, "a file was made on the master")
	require.Equal(h, h.Strings(h.Master.Raw, "SELECT * FROM t ORDER BY id"), h.Strings(h.Replicas[0].Raw, "SELECT * FROM t ORDER BY id"))
}

// Whoever has a replica's key may read and change rows of the program's tables, and nothing else.
func TestStolenKey(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		h := newThief(t, engine, nil)
		h.refuses(hostile[string(engine)])
		before := h.One(h.Master, "SELECT SUM(n) + 1 FROM t")
		_, err := h.to.ExecContext(h.Ctx, "UPDATE t SET n = n + 1 WHERE id = ?", 1)
		require.NoError(t, err)
		require.NoError(t, testcluster.Drain(h.to.QueryContext(h.Ctx, "SELECT * FROM t")))
		require.Equal(t, before, h.One(h.Master, "SELECT SUM(n) FROM t"))
	})
}

// A node that may only read cannot write by a view, a function or the start of a transaction either.
func TestStolenKeyOfReader(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		h := newThief(t, engine, map[string]ddb.NodeAccess{"": {SQL: ddb.ReadRows}})
		h.refuses(append(hostile[string(engine)], readerOnly[string(engine)]...))
		_, err := h.to.BeginTx(h.Ctx, nil)
		require.ErrorIs(t, err, ddb.ErrNotAllowed)
		require.NoError(t, testcluster.Drain(h.to.QueryContext(h.Ctx, "SELECT * FROM t")))
	})
}

// A snap has no statements to send unless it is given the right, and says so wherever it would ask the master.
func TestSnapHasNoSQL(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		nodes := map[string]ddb.NodeAccess{"a": {}, "b": {SQL: ddb.ReadRows}}
		s := testcluster.NewShop(t, e, ddb.Options{Nodes: nodes}, testcluster.PairSchema, "a", "b")
		s.Exec("master", "INSERT INTO p VALUES (1, 1, 'one', 0)")
		s.Exchange("a", "b")
		strong := ddb.WithConsistency(s.Ctx, ddb.Strong)
		const query = "SELECT v FROM p WHERE id = 1"
		for way, err := range map[string]error{
			"strong": testcluster.Drain(s.Nodes["a"].QueryContext(strong, query)),
			"row":    s.Nodes["a"].QueryRowContext(strong, query).Scan(new(string)),
			"node":   testcluster.Drain(s.Nodes["a"].QueryContext(ddb.WithNode(s.Ctx, "master"), query)),
			"raw":    testcluster.Drain(ddb.ToMain(s.Nodes["a"]).QueryContext(s.Ctx, "SELECT 1")),
			"begin":  begin(ddb.ToMain(s.Nodes["a"]).BeginTx(s.Ctx, nil)),
			"tx":     begin(s.Nodes["a"].BeginTx(strong, &sql.TxOptions{ReadOnly: true})),
		} {
			require.ErrorIs(t, err, ddb.ErrNotAllowed, way)
			require.ErrorContains(t, err, `Options.Nodes["a"].SQL`, way)
		}
		err := testcluster.Drain(s.Nodes["a"].QueryContext(s.Ctx, "SELECT * FROM nowhere"))
		require.ErrorIs(t, err, ddb.ErrNotAllowed)
		require.ErrorContains(t, err, "nowhere")
		require.NoError(t, testcluster.Drain(s.Nodes["a"].QueryContext(s.Ctx, query)))
		require.NoError(t, testcluster.Drain(s.Nodes["b"].QueryContext(strong, query)))
		require.ErrorIs(t, testcluster.Drain(ddb.ToMain(s.Nodes["b"]).QueryContext(s.Ctx, "DELETE FROM p")), ddb.ErrNotAllowed)
	})
}

func begin(tx *sql.Tx, err error) error {
	if err == nil {
		err = tx.Rollback()
	}
	return err
}

// A right that is granted is one: also to change the schema and to administer, never to write to ddb's own tables.
func TestGrantedRights(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		h := newThief(t, engine, map[string]ddb.NodeAccess{"r1": {SQL: ddb.ReadRows | ddb.ChangeRows | ddb.ChangeSchema | ddb.Administer}})
		_, err := h.to.ExecContext(h.Ctx, "CREATE TABLE granted (id INTEGER PRIMARY KEY)")
		require.NoError(t, err)
		require.NoError(t, testcluster.Drain(h.to.QueryContext(h.Ctx, map[string]string{"sqlite": "PRAGMA database_list", "mariadb": "SHOW GRANTS"}[string(engine)])))
		for _, s := range hostile[string(engine)] {
			if own := strings.Contains(strings.ToLower(s), "_ddb"); own && !strings.HasPrefix(s, "SELECT") {
				_, err := h.to.ExecContext(h.Ctx, strings.ReplaceAll(s, "{db}", h.Master.Name))
				require.ErrorIs(t, err, ddb.ErrNotAllowed, s)
			}
		}
		require.NoError(t, h.Master.WaitLevel(h.Ctx))
	})
}

// Nobody writes to ddb's own tables through ddb, not even the program itself, whatever the statement runs on.
func TestOwnTablesRefused(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := testcluster.OpenFixture(t, engine, 1)
		f.Do("CREATE TABLE t (id INTEGER PRIMARY KEY, n VARCHAR(200))", "INSERT INTO t VALUES (1, 'as in _ddb_meta')")
		if engine == "mariadb" {
			f.Bypass("CREATE VIEW journals AS SELECT * FROM `"+f.Master.Name+"_ddb`.journal", "CREATE VIEW over_journals AS SELECT * FROM journals")
			f.Do("CREATE TABLE u (id INTEGER PRIMARY KEY)") // by which the master learns of them
		}
		f.Level()
		own := map[string][]string{"mariadb": {"DELETE FROM journals", "DELETE FROM over_journals", "CREATE TABLE `{db}_ddb`.x (id INT PRIMARY KEY)",
			"CREATE VIEW w AS SELECT * FROM `{db}_ddb`.meta", "CREATE PROCEDURE q() DELETE FROM `{db}_ddb`.meta", "EXECUTE IMMEDIATE 'DELETE FROM `{db}_ddb`.meta'"},
			"sqlite": {"CREATE TABLE _ddb_mine (id INTEGER PRIMARY KEY)", "ALTER TABLE t RENAME TO _ddb_t", "CREATE VIEW w AS SELECT * FROM _ddb_meta"}}[string(engine)]
		for _, s := range hostile[string(engine)] {
			if strings.Contains(strings.ToLower(s), "_ddb") && !strings.HasPrefix(s, "SELECT") {
				own = append(own, s)
			}
		}
		before := f.Dump(f.Master)
		for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
			for _, s := range own {
				s = strings.ReplaceAll(s, "{db}", f.Master.Name)
				if n != f.Master && (strings.Contains(s, "CREATE") || strings.Contains(s, "ALTER") || strings.Contains(s, "DROP")) {
					continue // a replica runs no schema statement at all
				}
				for way, err := range testcluster.Ways(f.Ctx, n.Cluster, s) {
					if strings.HasPrefix(s, "USE ") && errors.Is(err, ddb.ErrNotReplicable) {
						continue // on the pool it is refused for what it does to a connection
					}
					require.ErrorIs(t, err, ddb.ErrNotAllowed, "%s on %s: %s", way, n.ID, s)
				}
			}
		}
		read := map[string]string{"sqlite": "SELECT COUNT(*) FROM _ddb_journal", "mariadb": "SELECT COUNT(*) FROM `" + f.Master.Name + "_ddb`.journal"}[string(engine)]
		require.NotEqual(t, "0", f.One(f.Master, read))
		f.Do("INSERT INTO t VALUES (2, '_ddb_meta'), (3, '" + f.Master.Name + "_ddb')")
		f.Do("DELETE FROM t WHERE id > 1")
		f.Level()
		require.Equal(t, before, f.Dump(f.Master))
		f.Same()
	})
}
