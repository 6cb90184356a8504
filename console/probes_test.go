package console_test

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
)

// witnessed counts the calls of the function witness on SQLite, by its argument.
var witnessed sync.Map

func init() {
	sqlite.MustRegisterDeterministicScalarFunction("witness", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		witnessed.Store(fmt.Sprint(args[0]), true)
		return int64(1), nil
	})
}

// parts are things of a program's schema that call a function with a side effect, as each kind of database allows them.
var parts = map[string][]string{
	"sqlite": {
		"CREATE VIEW only AS SELECT witness('only') AS x",
		"CREATE VIEW selected AS SELECT id, witness('selected') AS x FROM t",
		"CREATE VIEW filtered AS SELECT id FROM t WHERE witness('filtered') = 1",
		"CREATE VIEW nested AS SELECT x FROM only WHERE x = (SELECT witness('nested'))",
		"CREATE VIEW grouped AS SELECT a, max(witness('grouped')) AS x FROM t GROUP BY a ORDER BY witness('order') LIMIT 3",
		"CREATE TABLE generated (id INTEGER PRIMARY KEY, v INT AS (witness('virtual')) VIRTUAL, s INT AS (witness('stored')) STORED)",
		"CREATE TABLE checked (id INTEGER PRIMARY KEY, CHECK (witness('check') = 1))",
		"CREATE TABLE partly (id INTEGER PRIMARY KEY, a INT)",
		"CREATE INDEX partly_i ON partly (witness('index')) WHERE witness('partial') = 1",
		"CREATE TABLE standard (id INTEGER PRIMARY KEY, d INT DEFAULT (witness('default')))",
		"INSERT INTO standard VALUES (1, 1)",
		"CREATE TABLE acting (id INTEGER PRIMARY KEY)",
		"INSERT INTO acting VALUES (1)",
		"CREATE TRIGGER acts AFTER INSERT ON acting BEGIN SELECT witness('trigger'); END",
	},
	// MariaDB lets no such function into a default, a generated column or a check.
	"mariadb": {
		"CREATE TABLE witnessed (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(30))",
		"CREATE FUNCTION witness(who VARCHAR(30)) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO witnessed (who) VALUES (who); RETURN 1; END",
		"CREATE FUNCTION steady(who VARCHAR(30)) RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO witnessed (who) VALUES (who); RETURN 1; END",
		"CREATE VIEW only AS SELECT witness('only') AS x",
		// Views over what writes or locks stay on the master; the functions are on replicas as well.
		"CREATE FUNCTION locking() RETURNS INT DETERMINISTIC RETURN GET_LOCK('migration', 0)",
		"CREATE VIEW locks AS SELECT GET_LOCK('migration', 0) AS x",
		"CREATE VIEW locked AS SELECT id FROM t WHERE locking() = 1",
		"CREATE VIEW selected AS SELECT id, witness('selected') AS x FROM t",
		"CREATE VIEW filtered AS SELECT id FROM t WHERE witness('filtered') = 1",
		"CREATE VIEW steadily AS SELECT id FROM t WHERE steady('steadily') = 1",
		"CREATE VIEW inner_select AS SELECT (SELECT steady('inner')) AS x FROM t",
		"CREATE VIEW compared AS SELECT id FROM t WHERE a = (SELECT MAX(witness('compared')) FROM t)",
		"CREATE ALGORITHM=TEMPTABLE VIEW kept AS SELECT DISTINCT steady('kept') AS x FROM t",
		"CREATE VIEW united AS SELECT witness('united') AS x UNION ALL SELECT 2",
		"CREATE VIEW nested AS SELECT x FROM only WHERE x = (SELECT steady('nested'))",
		"CREATE VIEW derived AS SELECT id FROM (SELECT steady('derived') AS id) AS q LIMIT 3",
		"CREATE VIEW one_row AS SELECT id, steady('one row') AS x FROM t WHERE id = 1",
		"CREATE VIEW broken AS SELECT id, witness('broken') AS x FROM gone",
		"DROP TABLE gone",
		"CREATE PROCEDURE proceeds() SELECT witness('procedure')",
		"CREATE TABLE acting (id INT PRIMARY KEY)",
		"INSERT INTO acting VALUES (1)",
		"CREATE TRIGGER acts BEFORE INSERT ON acting FOR EACH ROW SET NEW.id = NEW.id + witness('trigger')",
	},
}

// calls lists the functions that were called on the database since it was made.
func calls(t *testing.T, e *engine, db *sql.DB) (list []string) {
	t.Helper()
	if e.name == "sqlite" {
		witnessed.Range(func(who, _ any) bool { list = append(list, who.(string)); return true })
		return list
	}
	var held, who sql.NullString
	require.NoError(t, db.QueryRow("SELECT GROUP_CONCAT(DISTINCT who), IS_USED_LOCK('migration') FROM witnessed").Scan(&who, &held))
	if who.Valid {
		list = strings.Split(who.String, ",")
	}
	if held.Valid {
		list = append(list, "locks")
	}
	return list
}

// life is a cluster from its opening to the day that ddb goes.
type life struct {
	*house
	at      console.Server
	replica *ddb.Cluster
	dbs     []*sql.DB // the master's, then the replica's
}

// level waits until the replica has everything.
func (l *life) level() {
	l.t.Helper()
	ctx := testContext(l.t)
	require.NoError(l.t, l.master.WaitLevel(ctx))
	for { // the replica says so with its next heartbeat
		nodes, changed := l.master.Watch()
		i := slices.IndexFunc(nodes, func(n ddb.NodeStatus) bool { return n.State != ddb.Active })
		if i < 0 {
			return
		}
		require.NotEqual(l.t, ddb.Failed, nodes[i].State, "%s: %s", nodes[i].ID, nodes[i].Reason)
		select {
		case <-changed:
		case <-ctx.Done():
			require.Equal(l.t, ddb.Active, nodes[i].State, "%s: %s", nodes[i].ID, nodes[i].Reason)
		}
	}
}

func (l *life) get(path string) {
	l.t.Helper()
	code, _, body := l.call("GET", path, nil)
	require.Equal(l.t, 200, code, "%s", body)
}

// alter alters a table as another client.
func (l *life) alter() {
	_, err := l.db.Exec("ALTER TABLE t ADD COLUMN c INT")
	require.NoError(l.t, err)
	l.exec("INSERT INTO t (id, a) VALUES (3, 3)")
	l.level()
}

func (l *life) export() {
	if l.engine.name == "mariadb" {
		need(l.t, "mariadb-dump")
		l.exec("DROP VIEW broken") // which mariadb-dump stops at
	}
	l.get("/api/export.sql")
}

func (l *life) promote() {
	require.NoError(l.t, l.replica.Close())
	require.NoError(l.t, l.master.Close())
	c, err := ddb.Open(testContext(l.t), l.dbs[1], ddb.Options{ID: "r1", Transport: l.network, Logger: logger(l.t)})
	require.NoError(l.t, err)
	require.NoError(l.t, c.Close())
}

func (l *life) detach() {
	for _, db := range l.dbs {
		require.NoError(l.t, ddb.Detach(testContext(l.t), db, ddb.Options{Logger: logger(l.t)}))
	}
}

var moments = []struct {
	name string
	run  func(l *life)
}{
	{"the master opens", func(l *life) { l.over(console.Options{Database: l.at}) }},
	{"a snapshot for a new replica", func(l *life) {
		var db *sql.DB
		l.replica, db = l.follow(ddb.Replica, "r1", nil)
		l.dbs = append(l.dbs, db)
		l.level()
	}},
	{"a table is made", func(l *life) { l.exec("CREATE TABLE later (id INT PRIMARY KEY)"); l.level() }},
	{"a table is altered", func(l *life) { l.exec("ALTER TABLE t ADD COLUMN b INT"); l.level() }},
	{"a view is made", func(l *life) { l.exec("CREATE VIEW later_v AS SELECT * FROM selected"); l.level() }},
	{"another client alters a table", (*life).alter},
	{"a view goes", func(l *life) { l.exec("DROP VIEW later_v"); l.level() }},
	{"the console lists", func(l *life) { l.get("/api/tables") }},
	{"the console shows rows", func(l *life) { l.get("/api/rows?table=t") }},
	{"the console shows the nodes", func(l *life) { l.get("/api/status") }},
	{"the console exports", (*life).export},
	{"the replica opens again", func(l *life) {
		require.NoError(l.t, l.replica.Close())
		l.replica, _ = l.follow(ddb.Replica, "r1", l.dbs[1])
		l.level()
	}},
	{"the replica becomes the master", (*life).promote},
	{"ddb goes", (*life).detach},
}

// What belongs to the program is never evaluated for ddb to learn about it: neither when a node opens, follows the
// schema, copies it or shows it, nor when it goes.
func TestNothingIsEvaluatedToLearn(t *testing.T) {
	onEach(t, func(t *testing.T, e *engine) {
		witnessed.Clear()
		db, at := e.open(t)
		for _, s := range append([]string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)", "INSERT INTO t VALUES (1, 1), (2, 2)", "CREATE TABLE gone (id INT PRIMARY KEY)"}, parts[e.name]...) {
			_, err := db.Exec(s)
			require.NoError(t, err, s)
		}
		l := &life{house: &house{t: t, engine: e, db: db}, at: at, dbs: []*sql.DB{db}}
		for _, moment := range moments {
			moment.run(l)
			for i, db := range l.dbs {
				require.Empty(t, calls(t, e, db), "%s: node %d has called what is the program's", moment.name, i)
			}
		}
		// The witness is one: whoever asks for a view's rows has it called, where there is the view.
		for i, db := range l.dbs {
			query := "SELECT * FROM only"
			if e.name == "mariadb" && i > 0 {
				query = "SELECT witness('only')"
			}
			rows, err := db.Query(query)
			require.NoError(t, err)
			for rows.Next() {
			}
			require.NoError(t, rows.Close())
			require.Contains(t, calls(t, e, db), "only")
		}
	})
}
