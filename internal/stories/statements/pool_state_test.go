package statements_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// settings are texts that set the state of a connection, with a query that shows it there, and what it shows with it.
var settings = map[string][]struct{ text, probe, want string }{
	"mariadb": {
		{"SET autocommit=0", "SELECT @@autocommit", "0"},
		{"SET SESSION TRANSACTION READ ONLY", "SELECT @@tx_read_only", "1"},
		{"SET foreign_key_checks=0", "SELECT @@foreign_key_checks", "0"},
		{"SET sql_mode='ANSI_QUOTES'", "SELECT @@sql_mode", "ANSI_QUOTES"},
		{"SET NAMES latin1", "SELECT @@character_set_client", "latin1"},
		{"SET GLOBAL sort_buffer_size=@@global.sort_buffer_size, SESSION sort_buffer_size=65536", "SELECT @@sort_buffer_size", "65536"},
		{"/*!40101 SET foreign_key_checks=0 */", "SELECT @@foreign_key_checks", "0"},
		{"SET STATEMENT max_statement_time=9 FOR SET foreign_key_checks=0", "", ""},
		{"SET @x = 7", "SELECT @x", "7"},
		{"SELECT 7 INTO @x", "SELECT @x", "7"},
		{"USE information_schema", "SELECT DATABASE()", "information_schema"},
		{"LOCK TABLES p READ", "", ""},
		{"LOCK TABLES p WRITE", "SELECT COUNT(*) > 0 FROM p", "1"},
		{"FLUSH TABLES p WITH READ LOCK", "", ""},
		{"UNLOCK TABLES", "", ""},
		{"HANDLER p OPEN", "", ""},
		{"PREPARE s FROM 'SELECT 1'", "EXECUTE s", "1"},
		{"SELECT GET_LOCK('pool_state', 0)", "SELECT IS_USED_LOCK('pool_state') = CONNECTION_ID()", "1"},
		{"DO GET_LOCK('pool_state', 0)", "SELECT IS_USED_LOCK('pool_state') = CONNECTION_ID()", "1"},
		{"CREATE TEMPORARY TABLE p (id INT PRIMARY KEY)", "SELECT COUNT(*) FROM p", "0"},
		{"SET foreign_key_checks=0; SET autocommit=0", "SELECT @@foreign_key_checks + @@autocommit", "0"},
		{"INSERT INTO log VALUES (NULL); SET autocommit=0", "SELECT @@autocommit", "0"},
	},
	"sqlite": {
		{"PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", "0"},
		{"PRAGMA main.foreign_keys(0)", "PRAGMA foreign_keys", "0"},
		{"PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers", "1"},
		{"PRAGMA ignore_check_constraints = ON", "PRAGMA ignore_check_constraints", "1"},
		{"PRAGMA writable_schema = ON", "PRAGMA writable_schema", "1"},
		{"PRAGMA synchronous = OFF", "PRAGMA synchronous", "0"},
		{"ATTACH ':memory:' AS elsewhere", "SELECT count(*) FROM pragma_database_list WHERE name = 'elsewhere'", "1"},
		{"CREATE TEMP TABLE p (id INTEGER PRIMARY KEY)", "SELECT count(*) FROM p", "0"},
		{"CREATE TABLE temp.p (id INTEGER PRIMARY KEY)", "SELECT count(*) FROM p", "0"},
		{"PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers", "1"},
		{"INSERT INTO log VALUES (NULL); PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers", "1"},
	},
}

// onPool is each way to run a text on whatever connection is free.
var onPool = map[string]func(c *ddb.Cluster, ctx context.Context, text string) error{
	"Exec": func(c *ddb.Cluster, ctx context.Context, text string) error {
		_, err := c.ExecContext(ctx, text)
		return err
	},
	"Query": func(c *ddb.Cluster, ctx context.Context, text string) error {
		rows, err := c.QueryContext(ctx, text)
		if err != nil {
			return err
		}
		return rows.Close()
	},
	"QueryRow": func(c *ddb.Cluster, ctx context.Context, text string) error {
		return c.QueryRowContext(ctx, text).Err()
	},
	"Prepare": func(c *ddb.Cluster, ctx context.Context, text string) error {
		s, err := c.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.ExecContext(ctx)
		return err
	},
}

// opened makes a cluster with a replica, and the tables that the settings name.
func openedForState(t *testing.T, engine testcluster.Engine) *testcluster.Fixture {
	f := testcluster.NewFixture(t, engine, 1)
	f.Grant(ddb.ReadRows | ddb.ChangeRows | ddb.ChangeSchema | ddb.Administer)
	for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
		if engine == "mariadb" {
			n.Raw = testdb.SharedMariaDB(t).Open(t, n.Name, "multiStatements=true")
		}
	}
	f.OpenAll()
	key := map[string]string{"mariadb": "INT AUTO_INCREMENT PRIMARY KEY", "sqlite": "INTEGER PRIMARY KEY"}[string(engine)]
	f.Do("CREATE TABLE p (id INT PRIMARY KEY)", "CREATE TABLE c (id "+key+", p INT REFERENCES p (id))", "CREATE TABLE log (id "+key+")", "INSERT INTO p VALUES (1)")
	if engine == "sqlite" {
		require.Equal(t, "1", f.One(f.Master, "PRAGMA foreign_keys"), "of the test's data source name")
	}
	f.Level()
	return f
}

// untouched checks that the connections which the nodes share are as they were opened, and that nobody holds a lock.
func untouched(f *testcluster.Fixture, what string) {
	f.Helper()
	for _, n := range append([]*testcluster.Node{f.Master}, f.Replicas...) {
		var conns []*sql.Conn
		for range n.Raw.Stats().Idle {
			c, err := n.Raw.Conn(f.Ctx)
			require.NoError(f, err, what)
			conns = append(conns, c)
			pristine(f, c, n, what)
		}
		for _, c := range conns {
			require.NoError(f, c.Close())
		}
	}
	_, err := f.Master.Exec("INSERT INTO c (p) VALUES (99)")
	require.Error(f, err, what)
	require.Contains(f, strings.ToLower(err.Error()), "foreign key", what)
	_, err = f.Master.Exec("INSERT INTO c (p) VALUES (1)")
	require.NoError(f, err, what)
	_, err = f.Replicas[0].Exec("INSERT INTO c (p) VALUES (1)")
	require.NoError(f, err, what)
	if f.Engine == "sqlite" {
		tx, err := f.Master.Begin()
		require.NoError(f, err, what)
		pristine(f, tx, f.Master, what) // the connection of the writer
		require.NoError(f, tx.Rollback())
	}
}

func pristine(f *testcluster.Fixture, q dialect.Querier, n *testcluster.Node, what string) {
	f.Helper()
	if f.Engine == "mariadb" {
		require.Equal(f, []string{"1|0|1|0|0|" + n.Name + "|0"}, f.Strings(q, "SELECT @@autocommit, @@tx_read_only, @@foreign_key_checks, @@sql_mode LIKE '%ANSI_QUOTES%', @x IS NOT NULL, DATABASE(), @@in_transaction"), what)
		require.Eventually(f, func() bool { // the server hears of a closed connection a moment later
			return f.Strings(q, "SELECT IS_USED_LOCK('pool_state') IS NULL")[0] == "1"
		}, testcluster.Patience, time.Millisecond, what)
		return
	}
	for pragma, want := range map[string]string{"recursive_triggers": "0", "ignore_check_constraints": "0", "writable_schema": "0"} {
		require.Equal(f, []string{want}, f.Strings(q, "PRAGMA "+pragma), what)
	}
	require.Equal(f, []string{"0"}, f.Strings(q, "SELECT count(*) FROM pragma_database_list WHERE name NOT IN ('main', 'temp')"), what)
	require.Equal(f, []string{"0"}, f.Strings(q, "SELECT count(*) FROM temp.sqlite_schema"), what)
}

// On the pool nothing sets the state of a connection, on whatever node and by whatever verb.
func TestPoolRefusesSettings(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		for _, s := range settings[string(engine)] {
			for way, run := range onPool {
				for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
					require.ErrorIs(t, run(n.Cluster, f.Ctx, s.text), ddb.ErrNotReplicable, "%s by %s on %s", s.text, way, n.ID)
				}
			}
			untouched(f, s.text)
		}
		require.Equal(t, "0", f.One(f.Master, "SELECT COUNT(*) FROM log"), "nothing of a text runs that is refused")
		f.Level()
	})
}

// On a Conn they have their effect, which ends with it, whether another takes the connection or nobody does.
func TestConnHoldsSettings(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		for _, s := range settings[string(engine)] {
			for name, take := range map[string]func() (*sql.Conn, error){
				"Conn":         func() (*sql.Conn, error) { return f.Master.Conn(f.Ctx) },
				"DB().Conn":    func() (*sql.Conn, error) { return f.Master.DB().Conn(f.Ctx) },
				"replica Conn": func() (*sql.Conn, error) { return f.Replicas[0].Conn(f.Ctx) },
			} {
				what := s.text + " on " + name
				c, err := take()
				require.NoError(t, err, what)
				if name == "DB().Conn" { // see TestConnOfDBHoldsSettings
					require.Equal(t, []string{"1"}, f.Strings(c, "SELECT 1"))
				}
				_, err = c.ExecContext(f.Ctx, s.text)
				if name == "replica Conn" && err != nil { // the master says what a follower may set
					require.NoError(t, c.Close())
					continue
				}
				require.NoError(t, err, what)
				if s.probe != "" {
					require.Equal(t, []string{s.want}, f.Strings(c, s.probe), what)
				}
				require.NoError(t, c.Close())
				untouched(f, what)
			}
		}
		f.Level()
	})
}

// Of what Cluster.DB runs a driver is not told whether it is on a Conn. It meets nobody else, and with one connection neither.
func TestDBKeepsSettingsFromOthers(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		for _, limit := range []int{0, 1} {
			f.Master.DB().SetMaxOpenConns(limit)
			for _, s := range settings[string(engine)] {
				_, err := f.Master.DB().Exec(s.text)
				require.ErrorIs(t, err, ddb.ErrNotReplicable, s.text)
				_, err = f.Master.DB().Query(s.text)
				require.ErrorIs(t, err, ddb.ErrNotReplicable, s.text)
				untouched(f, s.text)
			}
		}
		_, err := f.Master.DB().Exec("BEGIN")
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		f.Level()
	})
}

// On a Conn of DB a setting holds, but not as the first statement, which might be one on any connection.
func TestConnOfDBHoldsSettings(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		s := settings[string(engine)][0]
		c, err := f.Master.DB().Conn(f.Ctx)
		require.NoError(t, err)
		_, err = c.ExecContext(f.Ctx, s.text)
		require.ErrorIs(t, err, ddb.ErrNotReplicable)
		require.ErrorContains(t, err, "behind any other statement")
		_, err = c.ExecContext(f.Ctx, s.text)
		require.NoError(t, err)
		require.Equal(t, []string{s.want}, f.Strings(c, s.probe))
		require.NoError(t, c.Close())
		untouched(f, s.text)
	})
}

// A transaction keeps what it sets to itself, or refuses it where all that write share its connection.
func TestTransactionsHoldSettings(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		for _, s := range settings[string(engine)] {
			for _, commit := range []bool{true, false} {
				tx, err := f.Master.Begin()
				require.NoError(t, err)
				_, err = tx.Exec(s.text)
				if engine == "sqlite" {
					require.ErrorIs(t, err, ddb.ErrNotReplicable, s.text)
					_, err = tx.Query(s.text)
					require.ErrorIs(t, err, ddb.ErrNotReplicable, s.text)
				} else {
					require.NoError(t, err, s.text)
				}
				if commit {
					require.NoError(t, tx.Commit(), s.text)
				} else {
					require.NoError(t, tx.Rollback(), s.text)
				}
				untouched(f, s.text)
			}
		}
		if engine == "sqlite" { // ends with the transaction
			f.Tx("PRAGMA defer_foreign_keys = ON", "INSERT INTO c (p) VALUES (50)", "INSERT INTO p VALUES (50)")
		}
		f.Level()
	})
}

// A procedure, a compound statement and a text with a transaction of its own leave nothing behind, and what they leave open is said.
func TestHiddenStatementsLeaveNothing(t *testing.T) {
	f := openedForState(t, "mariadb")
	f.Do("CREATE PROCEDURE leaky() BEGIN SET foreign_key_checks=0; SET @x = 7; DO GET_LOCK('pool_state', 0); INSERT INTO log VALUES (NULL); END",
		"CREATE PROCEDURE loses() BEGIN SET autocommit=0; INSERT INTO log VALUES (NULL); END",
		"CREATE PROCEDURE opens() BEGIN START TRANSACTION; INSERT INTO log VALUES (NULL); END",
		"CREATE PROCEDURE ends() BEGIN SET autocommit=0; INSERT INTO log VALUES (NULL); COMMIT; END")
	for text, stands := range map[string]bool{
		"CALL leaky()": true,
		"CALL loses()": false,
		"CALL opens()": false,
		"CALL ends()":  true,
		"BEGIN NOT ATOMIC SET foreign_key_checks=0; INSERT INTO log VALUES (NULL); END":           true,
		"BEGIN NOT ATOMIC SET autocommit=0; INSERT INTO log VALUES (NULL); END":                   false,
		"EXECUTE IMMEDIATE 'SET foreign_key_checks=0'":                                            true,
		"SET STATEMENT max_statement_time=9 FOR CALL opens()":                                     false,
		"INSERT INTO log SELECT @x := NULL":                                                       true,
		"BEGIN; INSERT INTO log VALUES (NULL); COMMIT":                                            true,
		"BEGIN; INSERT INTO log VALUES (NULL)":                                                    false,
		"INSERT INTO log VALUES (NULL); START TRANSACTION; INSERT INTO log VALUES (NULL); COMMIT": true,
	} {
		for way, run := range onPool {
			for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
				what := text + " by " + way + " on " + n.ID
				if way == "QueryRow" {
					continue // whose error shows only in Scan
				}
				before := f.One(f.Master, "SELECT COUNT(*) FROM log")
				err := run(n.Cluster, f.Ctx, text)
				if stands {
					require.NoError(t, err, what)
				} else {
					require.ErrorContains(t, err, "left a transaction open", what)
					require.Equal(t, before, f.One(f.Master, "SELECT COUNT(*) FROM log"), what)
				}
				untouched(f, what)
			}
		}
	}
	f.Level()
	// On a Conn what a procedure has set is seen by those that follow.
	c, err := f.Master.Conn(f.Ctx)
	require.NoError(t, err)
	defer c.Close()
	for _, s := range []string{"CALL opens()", "ROLLBACK", "CALL leaky()", "CALL opens()", "COMMIT"} {
		_, err = c.ExecContext(f.Ctx, s)
		require.NoError(t, err, s)
	}
	require.Equal(t, []string{"7|0"}, f.Strings(c, "SELECT @x, @@foreign_key_checks"))
}

// What sets the server, or the file, is no state of a connection.
func TestPoolTakesOthersSettings(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		texts := []string{"PRAGMA journal_mode = WAL", "PRAGMA shrink_memory"}
		if engine == "mariadb" {
			texts = []string{"SET GLOBAL sort_buffer_size = @@global.sort_buffer_size", "SET @@global.sort_buffer_size = @@global.sort_buffer_size"}
		}
		for _, text := range texts {
			require.NoError(t, onPool["Exec"](f.Master.Cluster, f.Ctx, text), text)
			require.NoError(t, onPool["Query"](f.Master.Cluster, f.Ctx, text), text)
		}
		untouched(f, "")
	})
}

// A transaction begun by a text on a Conn is one, and rolled back where it is left open.
func TestConnBeginsByText(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, engine testcluster.Engine) {
		f := openedForState(t, engine)
		begin := map[string][]string{"mariadb": {"BEGIN", "START TRANSACTION"}, "sqlite": {"BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT a"}}[string(engine)]
		for _, b := range begin {
			end := "COMMIT"
			if strings.HasPrefix(b, "SAVEPOINT") {
				end = "RELEASE a"
			}
			for _, over := range []string{end, ""} {
				c, err := f.Master.Conn(f.Ctx)
				require.NoError(t, err)
				was := f.One(f.Master, "SELECT COUNT(*) FROM log")
				for _, s := range []string{b, "INSERT INTO log VALUES (NULL)", over} {
					if s != "" {
						_, err = c.ExecContext(f.Ctx, s)
						require.NoError(t, err, s)
					}
				}
				require.NoError(t, c.Close())
				require.Equal(t, over != "", f.One(f.Master, "SELECT COUNT(*) FROM log") != was, "%s, %q", b, over)
				untouched(f, b)
			}
		}
		f.Level()
	})
}

// On SQLite a schema statement runs on the writer's connection: in a transaction that a text has begun elsewhere, or under settings
// that the writer does not have, it is refused before anything happens, and the node goes on.
func TestSchemaStatementsHeedTheConn(t *testing.T) {
	f := openedForState(t, "sqlite")
	before := f.Dump(f.Master)
	for _, s := range []struct{ set, back string }{
		{"BEGIN", "ROLLBACK"}, {"BEGIN IMMEDIATE", "ROLLBACK"}, {"BEGIN EXCLUSIVE", "ROLLBACK"}, {"SAVEPOINT a", "RELEASE a"},
		{"BEGIN; INSERT INTO log VALUES (NULL)", "ROLLBACK"},
		{"PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"}, {"PRAGMA legacy_alter_table = ON", "PRAGMA legacy_alter_table = OFF"},
		{"PRAGMA ignore_check_constraints = ON", "PRAGMA ignore_check_constraints = OFF"}, {"PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers = OFF"},
		{"PRAGMA writable_schema = ON", "PRAGMA writable_schema = OFF"},
	} {
		c, err := f.Master.Conn(f.Ctx)
		require.NoError(t, err)
		_, err = c.ExecContext(f.Ctx, s.set)
		require.NoError(t, err, s.set)
		for _, ddl := range []string{"DROP TABLE c", "CREATE TABLE made (id INTEGER PRIMARY KEY)", "ALTER TABLE log ADD COLUMN v", "INSERT INTO log VALUES (NULL); DROP TABLE c", "PRAGMA user_version = 7"} {
			if strings.HasPrefix(ddl, "INSERT") && !strings.Contains(s.set, "BEGIN") {
				continue // its first statement stands
			}
			if strings.HasPrefix(s.set, "PRAGMA") && !strings.Contains(s.set, "writable_schema") && (strings.HasPrefix(ddl, "CREATE") || strings.HasPrefix(ddl, "PRAGMA")) {
				continue // the same under either: see TestSchemaStatementsUnheeded
			}
			_, err = c.ExecContext(f.Ctx, ddl)
			require.ErrorIs(t, err, ddb.ErrNotReplicable, "%s; %s", s.set, ddl)
		}
		_, err = c.ExecContext(f.Ctx, s.back)
		require.NoError(t, err, s.back)
		_, err = c.ExecContext(f.Ctx, "CREATE TABLE gone (id INTEGER PRIMARY KEY); DROP TABLE gone")
		require.NoError(t, err, "after %s", s.back)
		require.NoError(t, c.Close())
		untouched(f, s.set)
		f.Do("DELETE FROM c")
	}
	require.Equal(t, ddb.Active, f.Master.Nodes()[0].State)
	require.Equal(t, before, f.Dump(f.Master))
	f.Level()
}

// A setting that does not matter to a schema statement is no reason to refuse it: a dump turns foreign keys off before it makes its tables.
func TestSchemaStatementsUnheeded(t *testing.T) {
	f := openedForState(t, "sqlite")
	c, err := f.Master.Conn(f.Ctx)
	require.NoError(t, err)
	defer c.Close()
	for _, s := range []string{"PRAGMA foreign_keys = OFF", "PRAGMA legacy_alter_table = ON", "PRAGMA ignore_check_constraints = ON", "PRAGMA recursive_triggers = ON",
		"CREATE TABLE parent (id INTEGER PRIMARY KEY)", "CREATE TABLE made (id INTEGER PRIMARY KEY, v REFERENCES parent CHECK (v > 0))", "CREATE INDEX i ON made (v)",
		"CREATE VIEW w AS SELECT v FROM made", "DROP VIEW w", "DROP INDEX i", "PRAGMA user_version = 7"} {
		_, err := c.ExecContext(f.Ctx, s)
		require.NoError(t, err, s)
	}
	f.Level()
}

// A text that another sql_mode reads otherwise does not write on a replica.
func TestReadsUnderOtherModes(t *testing.T) {
	s := testdb.SharedMariaDB(t)
	for _, mode := range []string{"NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "PIPES_AS_CONCAT", "IGNORE_SPACE", ""} {
		t.Run(mode, func(t *testing.T) {
			f := testcluster.NewFixture(t, "mariadb", 1)
			for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
				n.Raw = s.Open(t, n.Name, "multiStatements=true", "sql_mode='"+mode+"'")
			}
			f.OpenAll()
			f.Do("CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL)", "INSERT INTO t VALUES (1, 0)")
			for _, function := range []string{"f", "now"} {
				f.Bypass("CREATE FUNCTION `" + function + "` () RETURNS INT BEGIN UPDATE t SET v = v + 1; RETURN 1; END")
			}
			f.Level()
			for _, text := range []string{`SELECT 'a\', f() -- '`, `SELECT "a\", f() -- "`, `SELECT 'a\', f(), 'b\' AS x`, `SELECT "a\", f(), '" -- '`, `SELECT 'a', "\'", f(), '\'' -- '`,
				`SELECT 'a\' AS x; DELETE FROM t -- '`, `SELECT now ()`, `SELECT "f"()`, "SELECT `f`()"} {
				if rows, err := f.Replicas[0].QueryContext(ddb.WithConsistency(f.Ctx, ddb.Eventual), text); err == nil {
					for rows.Next() {
					}
					rows.Close()
				}
				require.NoError(t, f.Master.WaitLevel(f.Ctx))
				require.Equal(t, f.Strings(f.Master.Raw, "SELECT * FROM t"), f.Strings(f.Replicas[0].Raw, "SELECT * FROM t"), text)
			}
			f.Level()
		})
	}
}

// A text that may hold a schema statement or a setting under the session's sql_mode is refused there, and runs elsewhere.
func TestDoubtfulTexts(t *testing.T) {
	s := testdb.SharedMariaDB(t)
	for mode, refused := range map[string]bool{"NO_BACKSLASH_ESCAPES": true, "ANSI_QUOTES": true, "": false} {
		t.Run(mode, func(t *testing.T) {
			f := testcluster.NewFixture(t, "mariadb", 1)
			for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
				n.Raw = s.Open(t, n.Name, "multiStatements=true", "sql_mode='"+mode+"'")
			}
			f.Grant(ddb.ReadRows | ddb.ChangeRows | ddb.ChangeSchema | ddb.Administer) // the worst reading needs them
			f.OpenAll()
			f.Do("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(60))", "CREATE TABLE u (id INT PRIMARY KEY)")
			for i, text := range []string{`'a\'); DROP TABLE u -- '`, `'a\'); SET autocommit=0 -- '`, `'a\'); COMMIT; DELETE FROM t -- '`, `"a\"); DROP TABLE u -- "`} {
				text = fmt.Sprintf("INSERT INTO t VALUES (%d, %s)", i, text)
				for _, n := range []*testcluster.Node{f.Master, f.Replicas[0]} {
					_, err := n.Exec(text)
					if refused {
						require.ErrorIs(t, err, ddb.ErrNotReplicable, text)
					} else {
						require.NoError(t, err, text)
						f.Do("DELETE FROM t")
					}
				}
			}
			f.Level()
		})
	}
}
