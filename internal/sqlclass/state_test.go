package sqlclass

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What a text does to its connection, or needs of it, is told; what merely looks so is not.
func TestStateOf(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		want    State
		texts   []string
	}{
		{MySQL, 0, []string{"SELECT 1", "INSERT INTO t VALUES ('a@b.c', 'GET_LOCK(')", "UPDATE t SET a = 1 -- @x", "SET GLOBAL max_connections = 5",
			"SET @@global.max_connections = 5, GLOBAL x = 1", "SET PASSWORD = 'x'", "SET STATEMENT max_statement_time=1 FOR DELETE FROM t", "BEGIN", "COMMIT",
			"CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW SET @x = 1", "CREATE PROCEDURE p() SET autocommit = 0", "KILL 5", "FLUSH TABLES", "DROP USER u", "DROP ROLE r", "CREATE USER u", "GRANT ALL ON t TO u", "DELETE FROM t; DELETE FROM u", "", "SELECT 'x"}},
		{MySQL, Sets, []string{"SET autocommit=0", "set NAMES utf8mb4", "SET GLOBAL a = 1, b = 2", "SET SESSION TRANSACTION READ ONLY", "SET ROLE r", "USE db", "LOCK TABLES t READ",
			"UNLOCK TABLES", "HANDLER t OPEN", "PREPARE s FROM 'SELECT 1'", "DEALLOCATE PREPARE s", "DROP PREPARE s", "FLUSH TABLES WITH READ LOCK", "BACKUP STAGE START", "SELECT GET_LOCK('a', 1)",
			"DO RELEASE_ALL_LOCKS()", "SELECT `get_lock`('a', 1)", "CREATE TEMPORARY TABLE t (id INT)", "DROP TEMPORARY TABLE t", "DELETE FROM t; SET autocommit=0",
			"/*!40101 SET autocommit=0 */", "SET STATEMENT a=1 FOR SET autocommit=0", "SET foreign_key_checks = f(1)", "INSERT INTO t SELECT GET_LOCK('a', 1)"}},
		{MySQL, Sets | Asks, []string{"SET @x = 1", "SELECT 1 INTO @x", "SELECT a, b INTO @x, @y FROM t", "SET @@autocommit = 0"}},
		{MySQL, Asks, []string{"SELECT @x", "SELECT @@identity", "SELECT LAST_INSERT_ID()", "UPDATE t SET a = LAST_INSERT_ID(a + 1)", "SHOW WARNINGS", "SELECT SQL_CALC_FOUND_ROWS a FROM t"}},
		{MySQL, Asks | Assigns, []string{"SELECT @n := @n + 1 FROM t", "LOAD DATA INFILE 'x' INTO TABLE t (a, @b) SET c = @b"}},
		{MySQL, Hides, []string{"CALL p()", "EXECUTE IMMEDIATE 'SET autocommit=0'", "BEGIN NOT ATOMIC SET autocommit=0; END", "BEGIN DELETE FROM t; END", "IF 1 THEN SET autocommit=0; END IF",
			"DECLARE a INT; BEGIN SET autocommit=0; END", "a: LOOP LEAVE a; END LOOP", "SET STATEMENT a=1 FOR CALL p()"}},
		{MySQL, Hides | Asks, []string{"EXECUTE s", "CALL p(@x)"}},
		{MySQL, Spans, []string{"BEGIN; DELETE FROM t; COMMIT", "DELETE FROM t; XA START 'a'"}},
		{MySQL, Modal, []string{`INSERT INTO t VALUES ('a\'); DROP TABLE u -- ')`, `INSERT INTO t VALUES ('a\'); COMMIT; DELETE FROM t -- ')`, `INSERT INTO t VALUES ("a\"); SET autocommit=0 -- ")`,
			`INSERT INTO t VALUES ('a\', GET_LOCK('b', 1)) -- ')`, `INSERT INTO t VALUES ("a\"); CALL p() -- ")`}},
		{MySQL, Versioned, []string{"DELETE FROM t /*!99999 -- */ WHERE GET_LOCK('a', 1)\n/*!99999*/"}},
		{MySQL, 0, []string{`INSERT INTO t VALUES ('it\'s; fine'), ('don\'t')`, `INSERT INTO t VALUES ('C:\\'), ("\"")`, `CREATE TABLE t (a INT COMMENT 'it\'s')`, "CREATE TABLE t (a INT) /*!50100 PARTITION BY KEY (a) */"}},
		{SQLite, 0, []string{"SELECT 1", "PRAGMA foreign_keys", "PRAGMA journal_mode = WAL", "PRAGMA main.journal_mode('wal')", "PRAGMA table_info(t)", "PRAGMA user_version = 3", "PRAGMA optimize", "BEGIN",
			"INSERT INTO t VALUES ('PRAGMA foreign_keys = ON')", "VACUUM"}},
		{SQLite, Sets, []string{"PRAGMA foreign_keys = ON", "PRAGMA foreign_keys(1)", "PRAGMA main.synchronous = OFF", "PRAGMA journal_mode = MEMORY", "ATTACH 'x' AS y", "DETACH y", "CREATE TEMP TABLE t (a)",
			"DELETE FROM t; PRAGMA recursive_triggers = ON"}},
		{SQLite, Sets | Transient, []string{"PRAGMA defer_foreign_keys = ON"}},
		{SQLite, Spans, []string{"BEGIN; DELETE FROM t; COMMIT"}},
	} {
		for _, text := range c.texts {
			if got := StateOf(c.dialect, text); got != c.want {
				t.Errorf("%v: StateOf(%q) = %08b, want %08b", c.dialect, text, got, c.want)
			}
		}
	}
}

// visible is an independent model of how a MySQL server cuts a text under a sql_mode: it leaves out what is within literals
// and comments. ends is false if a literal does not end.
func visible(text string, escapes, ansi bool) (code string, ends bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'' || c == '"' || c == '`':
			escaped := escapes && (c == '\'' || c == '"' && !ansi)
			for i++; ; i++ {
				if i >= len(text) {
					return b.String(), false
				}
				if text[i] == '\\' && escaped {
					i++
				} else if text[i] == c {
					if i+1 < len(text) && text[i+1] == c {
						i++
						continue
					}
					break
				}
			}
			b.WriteString("''")
		case c == '#' || strings.HasPrefix(text[i:], "--") && (i+2 == len(text) || text[i+2] <= ' ' || text[i+2] == 0x7f):
			for i < len(text) && text[i] != '\n' {
				i++
			}
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// No text that calls a function which is not built in, or holds the verb of a write, under some mode, is a Read.
func readHidesNothing(t interface{ Fatalf(string, ...any) }, text string) {
	if Classify(MySQL, text) != Read {
		return
	}
	for _, m := range []struct{ escapes, ansi bool }{{true, false}, {true, true}, {false, false}, {false, true}} {
		code, ends := visible(text, m.escapes, m.ansi)
		if !ends && !strings.Contains(code, ";") {
			continue // an error of syntax
		}
		if strings.Contains(code, " wr1te()") || strings.Contains(code, "; DELETE ") {
			t.Fatalf("%q is a read, and %q under %+v", text, code, m)
		}
	}
}

var shards = []string{"'", "'", `"`, `"`, `\`, `\`, "`", " wr1te() ", ", ", "a", " -- ", "\n", "#", "; ", "DELETE FROM t ", "''", `\\`, `\'`, `""`}

func TestReadHidesNothing(t *testing.T) {
	reads := 0
	rapid.Check(t, func(t *rapid.T) {
		text := "SELECT " + strings.Join(rapid.SliceOfN(rapid.SampledFrom(shards), 1, 14).Draw(t, "shards"), "")
		if Classify(MySQL, text) == Read {
			reads++
		}
		readHidesNothing(t, text)
	})
	if reads == 0 {
		t.Fatal("no text was a read, so nothing was tested")
	}
}

func FuzzReadHidesNothing(f *testing.F) {
	for _, c := range classCases(f) {
		if c.dialect == MySQL {
			f.Add(c.sql)
		}
	}
	for _, s := range shards {
		f.Add("SELECT 'a" + s + ` wr1te() -- '`)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "/*") || strings.ContainsRune(text, 0) || !strings.HasPrefix(text, "SELECT ") ||
			strings.Contains(strings.ToUpper(text), "AS") || strings.Contains(strings.ReplaceAll(text, "wr1te()", ""), ")") {
			return // the model knows no comments of this kind, no names of derived tables, and a server ends at a NUL byte
		}
		StateOf(MySQL, text)
		readHidesNothing(t, text)
	})
}
