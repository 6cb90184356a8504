package rights

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ddb-project/ddb/internal/sqlclass"
	"pgregory.net/rapid"
)

var testScope = Scope{Databases: []string{"shop", "stock"}, Own: "shop_ddb", Functions: []string{"bump"}, Writers: []string{"bumping"}, OwnViews: []string{"journals"}}

// The needs on SQLite and on a server: r to read, w to change rows, s to change the schema, a to administer, o for what nobody may.
// Of a text that is no statement of the one's the letter is what it looks like there: the database refuses it.
var statements = []struct{ needs, text string }{
	// Reads.
	{"rr", "SELECT 1"},
	{"rr", "select * from t"},
	{"rr", "(SELECT 1)"},
	{"rr", "SELECT a, t.b, t.* FROM t WHERE t.a = ? ORDER BY t.b, t.a LIMIT 1 OFFSET 2"},
	{"rr", "SELECT o.id, i.name FROM orders o JOIN items AS i ON o.item = i.id, t WHERE o.id IN (SELECT x.id FROM x) GROUP BY o.id, i.name HAVING COUNT(*) > 1"},
	{"rr", "SELECT x.n FROM (SELECT a n FROM t) x LEFT JOIN (t u JOIN v ON u.a = v.a) ON x.n = u.a"},
	{"rr", "WITH c (a, b) AS (SELECT 1, 2), d AS (SELECT c.a FROM c) SELECT c.a, d.a FROM c, d"},
	{"rr", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT n.i FROM n"},
	{"rr", "SELECT a FROM t UNION SELECT b FROM u EXCEPT SELECT c FROM v ORDER BY 1"},
	{"rr", "SELECT COUNT(*), SUM(a), MAX(b), COALESCE(c, 'x'), UPPER(d) FROM t"},
	{"rr", "SELECT ROW_NUMBER() OVER (PARTITION BY t.a ORDER BY t.b) FROM t"},
	{"rr", "SELECT SUM(a) OVER w FROM t WINDOW w AS (ORDER BY b)"},
	{"rr", "SELECT CAST(a AS DECIMAL(10, 2)), CASE WHEN (a) THEN (b) ELSE (c) END FROM t"},
	{"rr", "SELECT REPLACE(a, 'x', 'y') FROM t"},
	{"rr", "SELECT 'DROP TABLE t; DELETE FROM t' FROM t"},
	{"rr", "SELECT 1 -- ; DROP TABLE t\n"},
	{"rr", "SELECT 1 /* ; DROP TABLE t */"},
	{"rr", "SELECT JSON_EXTRACT(a, '$.b') FROM t"},
	{"rr", "SELECT EXISTS (SELECT 1 FROM t), NOT (a), a AND (b) FROM t"},
	{"rr", "VALUES (1), (2)"},
	{"rr", "EXPLAIN SELECT * FROM t"},
	{"rr", "SELECT `a`, `t`.`b` FROM `t`"},
	{"rr", `SELECT "a" FROM t`},
	{"ra", "SELECT * FROM main.t"},
	{"ar", "SELECT * FROM shop.t, stock.t u"},
	{"ar", "SELECT shop.t.a FROM shop.t"},
	{"ra", "SELECT date('now'), strftime('%Y', a), group_concat(a) FROM t"},
	{"ra", "SELECT * FROM json_each('[1]')"},
	{"ra", "SELECT name FROM pragma_table_info('t')"},
	{"rr", "SELECT name FROM sqlite_master"},
	{"rr", "SELECT [a] FROM [t]"},
	{"rr", "SELECT a FROM docs WHERE docs MATCH 'word'"},
	{"ar", "SELECT NOW(), UUID(), VERSION(), DATABASE(), IFNULL(a, 0) FROM t"},
	{"ar", "SELECT EXTRACT(YEAR FROM o.at), TRIM(LEADING 'x' FROM o.b), SUBSTRING(o.c FROM 2) FROM orders o"},
	{"ar", "SELECT * FROM t USE INDEX (i), u FORCE INDEX FOR JOIN (k)"},
	{"rr", "SELECT MATCH (a) AGAINST ('x' IN BOOLEAN MODE) FROM t"},
	{"ar", "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"},
	{"rr", "SELECT @@version, @@session.sql_mode"},
	{"rr", "SELECT @n := 1"},
	{"ar", "SELECT a INTO @x FROM t"},
	{"rr", "SELECT a FROM t WHERE a = @x"},
	{"ar", "SELECT LAST_INSERT_ID(), FOUND_ROWS(), ROW_COUNT(), CONNECTION_ID()"},
	{"ar", "SHOW TABLES"}, {"ar", "SHOW FULL TABLES FROM shop"}, {"ar", "SHOW COLUMNS FROM t"}, {"ar", "SHOW INDEX FROM t FROM stock"},
	{"ar", "SHOW CREATE TABLE t"}, {"ar", "SHOW WARNINGS"}, {"ar", "SHOW VARIABLES LIKE 'sql_mode'"}, {"ar", "SHOW DATABASES"},
	{"ar", "DESCRIBE t"}, {"ar", "DESC t a"}, {"ar", "EXPLAIN t"}, {"rr", "EXPLAIN FORMAT=JSON SELECT 1"}, {"ar", "ANALYZE SELECT * FROM t"},
	{"ar", "TABLE t"}, {"ar", "DO 1"}, {"ar", "CHECKSUM TABLE t"},
	{"rr", "EXPLAIN QUERY PLAN SELECT * FROM t"},
	{"ra", "PRAGMA table_info(t)"}, {"ra", "PRAGMA main.index_list('t')"}, {"ra", "PRAGMA user_version"}, {"ra", "PRAGMA foreign_keys"},
	{"rr", "SELECT * FROM (WITH a AS (SELECT 1 x), b AS (SELECT a.x FROM a) SELECT b.x FROM b) d"},
	{"rr", "SELECT t.a FROM {OJ t LEFT JOIN u ON t.a = u.a}"},
	{"rr", "SELECT a, COUNT(*) FROM t GROUP BY a WITH ROLLUP"},
	{"rr", "SELECT i.a FROM t i CROSS JOIN u WHERE i.a IS NOT DISTINCT FROM u.b"},
	// The sender's own session and transactions.
	{"rr", "BEGIN"}, {"rr", "COMMIT"}, {"rr", "ROLLBACK"}, {"rr", "SAVEPOINT a"}, {"rr", "ROLLBACK TO a"}, {"rr", "RELEASE SAVEPOINT a"},
	{"rr", "END"}, {"wa", "BEGIN IMMEDIATE"}, {"ar", "START TRANSACTION READ ONLY"}, {"ar", "BEGIN WORK"},
	{"ar", "SET NAMES utf8mb4"}, {"ar", "SET time_zone = '+00:00'"}, {"ar", "SET SESSION sql_mode = 'ANSI_QUOTES'"}, {"ar", "SET @a = 1, @b := 2"},
	{"ar", "SET @@session.time_zone = 'UTC', autocommit = 1"}, {"ar", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"},
	{"ar", "SET STATEMENT max_statement_time = 1 FOR SELECT * FROM t"}, {"ar", "USE stock"}, {"ar", "SET character_set_results = NULL"},
	// Changes of rows.
	{"ww", "INSERT INTO t VALUES (1, 'it''s; DROP TABLE t')"},
	{"ww", "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)"},
	{"ww", "INSERT INTO t (a) SELECT u.a FROM u"},
	{"ww", "REPLACE INTO t (a) VALUES (1)"},
	{"ww", "UPDATE t SET a = a + 1, b = (SELECT MAX(u.b) FROM u) WHERE t.c = 2"},
	{"ww", "DELETE FROM t WHERE a = 1"},
	{"ww", "delete from t"},
	{"ww", "WITH c AS (SELECT 1 a) DELETE FROM t WHERE a IN (SELECT c.a FROM c)"},
	{"ww", "WITH c AS (SELECT 1) UPDATE t SET a = 1"},
	{"ww", "WITH c AS (SELECT 1 a) INSERT INTO t SELECT a FROM c"},
	{"ww", "INSERT INTO t (a) VALUES (1) RETURNING a"},
	{"ww", "EXPLAIN DELETE FROM t"},
	{"ww", "INSERT INTO t VALUES (1); UPDATE t SET a = 2"},
	{"wa", "INSERT OR IGNORE INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = excluded.b"},
	{"ww", "UPDATE t SET a = 1 RETURNING b"},
	{"ww", "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a), b = t.b"},
	{"ww", "INSERT INTO t (a) VALUES (1) AS n ON DUPLICATE KEY UPDATE a = n.a"},
	{"aw", "INSERT IGNORE INTO shop.t SET a = NOW()"},
	{"ww", "REPLACE t VALUES (1)"},
	{"ww", "UPDATE t JOIN u ON t.a = u.a SET t.b = u.b"},
	{"ww", "DELETE t, u FROM t JOIN u ON t.a = u.a"},
	{"ww", "DELETE FROM t USING t JOIN u ON t.a = u.a"},
	{"aw", "UPDATE shop.t, stock.u SET t.a = u.a"},
	{"ww", "SELECT * FROM t FOR UPDATE"},
	{"ww", "SELECT * FROM t LOCK IN SHARE MODE"},
	{"aw", "SELECT GET_LOCK('a', 1)"},
	{"aw", "SELECT SLEEP(1)"},
	{"aw", "SELECT BENCHMARK(1000000, MD5('a'))"},
	{"aw", "SELECT NEXTVAL(s)"}, {"ww", "SELECT NEXT VALUE FOR s"},
	{"ww", "SELECT bump()"}, {"ww", "SELECT a FROM t WHERE b = `bump`(1)"}, {"aw", "SELECT shop.bump()"}, {"aw", "DO bump()"}, {"aw", "SET @x = bump()"},
	{"ww", "SELECT * FROM bumping"}, {"ww", "SELECT * FROM (SELECT a FROM `Bumping`) d"}, {"ww", "EXPLAIN SELECT * FROM bumping"},
	{"aw", "ANALYZE DELETE FROM t"}, {"ww", "EXPLAIN ANALYZE DELETE FROM t"}, {"aw", "SET STATEMENT max_statement_time = 1 FOR DELETE FROM t"},
	{"ww", "INSERT /*!40000 IGNORE */ INTO t VALUES (1)"},
	{"aw", `INSERT INTO t VALUES ("a", 'it\'s')`},
	{"ww", "CREATE TEMPORARY TABLE x (a INTEGER PRIMARY KEY)"},
	{"ww", "CREATE TEMPORARY TABLE x AS SELECT * FROM t"},
	{"ww", "DROP TEMPORARY TABLE x"},
	// The schema.
	{"ss", "CREATE TABLE x (id INTEGER PRIMARY KEY, n VARCHAR(20) DEFAULT 'a', CHECK (n <> ''), FOREIGN KEY (n) REFERENCES u (n) ON DELETE CASCADE)"},
	{"ss", "CREATE TABLE IF NOT EXISTS x (id INTEGER PRIMARY KEY)"},
	{"ss", "DROP TABLE t"}, {"ss", "drop table if exists t"}, {"ss", "ALTER TABLE t ADD COLUMN x INT"}, {"ss", "ALTER TABLE t RENAME TO u"},
	{"ss", "CREATE UNIQUE INDEX i ON t (a, b)"}, {"ss", "CREATE VIEW v AS SELECT t.a FROM t JOIN u ON t.a = u.a"}, {"ss", "DROP VIEW v"},
	{"ss", "DELETE FROM t; DROP TABLE t"}, {"ss", "SELECT 1; CREATE TABLE x (a INT PRIMARY KEY)"},
	{"ss", "DROP TRIGGER g"},
	{"ss", "DROP INDEX i ON t"}, {"as", "TRUNCATE TABLE t"}, {"as", "TRUNCATE t"}, {"as", "RENAME TABLE t TO u"}, {"as", "CREATE DATABASE more"},
	{"as", "DROP DATABASE stock"}, {"as", "DROP PROCEDURE p"}, {"ss", "CREATE TABLE x (id INT PRIMARY KEY) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"},
	{"ss", "DROP TABLE t, u"}, {"ss", "CREATE OR REPLACE TABLE x (id INT PRIMARY KEY)"}, {"ss", "CREATE TABLE x LIKE t"}, {"as", "CREATE SEQUENCE s"},
	{"sa", "CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET a = 1; DELETE FROM u WHERE u.a = NEW.a; END"},
	{"ss", "CREATE VIRTUAL TABLE d USING fts5(a)"},
	{"rs", "/*!50000 DROP TABLE t */"}, {"rs", "SELECT 1 /*!99999 ; DROP TABLE t */"}, {"rs", "SELECT 1 /*M!100000 ; DROP TABLE t */"},
	// Administration.
	{"aa", "VACUUM"}, {"aa", "ANALYZE"}, {"aa", "ATTACH DATABASE '/tmp/x' AS x"}, {"aa", "DETACH x"}, {"aa", "VACUUM INTO '/tmp/x'"}, {"aa", "REINDEX"},
	{"aa", "PRAGMA foreign_keys = OFF"}, {"aa", "PRAGMA writable_schema(1)"}, {"aa", "PRAGMA journal_mode = DELETE"}, {"aa", "PRAGMA main.user_version = 3"},
	{"aa", "PRAGMA wal_checkpoint"}, {"aa", "PRAGMA optimize"}, {"aa", "PRAGMA table_info(t) = 1"}, {"aa", "PRAGMA database_list"},
	{"aa", "SELECT load_extension('x')"}, {"aa", `SELECT "load_extension"('x')`}, {"aa", "SELECT fts3_tokenizer('simple', x'00')"}, {"aa", "SELECT * FROM load_extension('x')"},
	{"aa", "SELECT writefile('/tmp/x', 'a')"}, {"aa", "SELECT readfile('/etc/passwd')"}, {"aa", "SELECT edit(a) FROM t"}, {"aa", "SELECT sys_exec('id')"},
	{"ar", "SELECT name FROM pragma_journal_mode"}, {"aa", "SELECT * FROM other.t"}, {"ar", "SELECT * FROM sqlite_dbpage"}, {"aw", "UPDATE sqlite_master SET sql = ''"},
	{"aa", "CREATE VIRTUAL TABLE x USING csv(filename='/etc/passwd')"}, {"aa", "CREATE VIEW v AS SELECT load_extension('x')"},
	{"aa", "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT load_extension('x'); END"},
	{"aa", "EXECUTE IMMEDIATE 'DROP TABLE t'"}, {"aa", "BEGIN NOT ATOMIC DROP TABLE t; END"}, {"aa", "PREPARE s FROM 'DROP TABLE t'"}, {"aa", "EXECUTE s"},
	{"aa", "DEALLOCATE PREPARE s"}, {"aa", "CALL p()"}, {"aa", "HANDLER t OPEN"}, {"aa", "LOAD DATA INFILE '/etc/passwd' INTO TABLE t"},
	{"aa", "SELECT * FROM t INTO OUTFILE '/tmp/x'"}, {"aa", "SELECT a INTO DUMPFILE '/tmp/x' FROM t"}, {"aa", "SELECT LOAD_FILE('/etc/passwd')"},
	{"aa", "INSERT INTO t SELECT LOAD_FILE('/etc/passwd')"}, {"aa", "SELECT 1 UNION SELECT LOAD_FILE ('/etc/passwd')"}, {"aa", "(SELECT 1 INTO OUTFILE '/tmp/x')"},
	{"aa", "SELECT * FROM mysql.user"}, {"aa", "SELECT * FROM t, `mysql`.`user`"}, {"aa", "SELECT * FROM (t, mysql.global_priv)"}, {"aa", "SELECT 1 FROM t WHERE a = (SELECT b FROM mysql . user LIMIT 1)"},
	{"aa", "UPDATE mysql.user SET Host = '%'"}, {"aa", "UPDATE t, mysql.user SET Host = '%'"}, {"aa", "INSERT INTO mysql.func VALUES (1)"}, {"aa", "DELETE FROM mysql.user"},
	{"aa", "DELETE a FROM t b, mysql.user a"}, {"aa", "REPLACE mysql.user VALUES (1)"}, {"aa", "WITH c AS (SELECT * FROM mysql.user) SELECT * FROM c"},
	{"aa", "TABLE mysql.user"}, {"aa", "SELECT mysql.user.Host FROM t mysql, mysql.user"}, {"aa", "SELECT * FROM t WINDOW, mysql.user"}, {"aa", "SELECT * FROM t duplicate, other.secret"}, {"rr", "SELECT * FROM t value"}, {"aa", "SELECT * FROM t value, other.secret"}, {"aa", "SELECT * FROM t full, other.secret"}, {"aa", "SELECT * FROM t offset, other.secret"},
	{"aa", "SELECT * FROM t USE INDEX FOR ORDER BY (i), other.secret"}, {"aa", "SELECT * FROM t FOR SYSTEM_TIME ALL, other.secret"}, {"aa", "SELECT 1 AS other FROM other.secret"},
	{"aa", "SELECT * FROM {OJ other.secret LEFT JOIN t other ON 1}"}, {"aa", "INSERT INTO other TABLE other.secret"}, {"aa", "WITH other AS (SELECT 1) DELETE FROM t USING other.secret"},
	{"aa", "SELECT * FROM performance_schema.accounts"}, {"aa", "SELECT * FROM sys.version"}, {"aa", "SELECT * FROM information_schema.PROCESSLIST"},
	{"aa", "SELECT * FROM information_schema.USER_PRIVILEGES"}, {"aa", "USE mysql"}, {"aa", "USE other"}, {"aa", "SELECT other.f()"}, {"aa", "SELECT sys.sys_exec('id')"},
	{"aa", "SHOW GRANTS"}, {"aa", "SHOW GRANTS FOR CURRENT_USER()"}, {"aa", "SHOW CREATE USER"}, {"aa", "SHOW CREATE USER root@localhost"}, {"aa", "SHOW PROCESSLIST"},
	{"aa", "SHOW FULL PROCESSLIST"}, {"aa", "SHOW BINARY LOGS"}, {"aa", "SHOW MASTER STATUS"}, {"aa", "SHOW ENGINE INNODB STATUS"}, {"aa", "SHOW TABLES FROM mysql"},
	{"aa", "SHOW COLUMNS FROM user FROM mysql"}, {"aa", "SHOW COLUMNS IN mysql.user"}, {"aa", "SHOW CREATE TABLE mysql.user"}, {"aa", "SHOW PLUGINS"},
	{"aa", "DESCRIBE mysql.user"}, {"aa", "EXPLAIN FOR CONNECTION 5"}, {"aa", "EXPLAIN SELECT * FROM mysql.user"}, {"aa", "SHOW TABLES WHERE (SELECT 1 FROM mysql.user)"},
	{"aa", "SET GLOBAL read_only = 1"}, {"aa", "SET @@global.read_only = 1"}, {"aa", "SET PERSIST max_connections = 1"}, {"aa", "SET PASSWORD = 'x'"}, {"aa", "SET ROLE admin"},
	{"aa", "SET foreign_key_checks = 0"}, {"aa", "SET SESSION unique_checks = 0"}, {"aa", "SET STATEMENT foreign_key_checks = 0 FOR INSERT INTO t VALUES (1)"},
	{"aa", "SET check_constraint_checks = 0"}, {"aa", "SET DEFAULT ROLE admin"}, {"aa", "SET sql_log_bin = 0"}, {"aa", "SET SESSION binlog_format = 'STATEMENT'"}, {"aa", "SET NAMES gbk"}, {"aa", "SET character_set_client = sjis"},
	{"aa", "SET @a = 1, GLOBAL read_only = 1"}, {"aa", "SET NAMES utf8, GLOBAL read_only = 1"}, {"aa", "SET auto_increment_increment = 1"}, {"aa", "SET @x = LOAD_FILE('/etc/passwd')"},
	{"aa", "SET STATEMENT sql_log_bin = 0 FOR DELETE FROM t"}, {"aa", "SET STATEMENT max_statement_time = 1 FOR SET GLOBAL read_only = 1"},
	{"aa", "LOCK TABLES t READ"}, {"aa", "UNLOCK TABLES"}, {"aa", "FLUSH TABLES WITH READ LOCK"}, {"aa", "FLUSH PRIVILEGES"}, {"aa", "KILL 5"}, {"aa", "SHUTDOWN"}, {"aa", "RESET MASTER"},
	{"aa", "GRANT ALL ON *.* TO x"}, {"aa", "REVOKE ALL ON *.* FROM x"}, {"aa", "CREATE USER x IDENTIFIED BY 'y'"}, {"aa", "ALTER USER root IDENTIFIED BY ''"}, {"aa", "DROP USER x"},
	{"aa", "CREATE ROLE r"}, {"aa", "RENAME USER a TO b"}, {"aa", "INSTALL SONAME 'x'"}, {"aa", "CREATE FUNCTION f RETURNS INTEGER SONAME 'x.so'"}, {"aa", "CREATE SERVER s FOREIGN DATA WRAPPER mysql"},
	{"aa", "PURGE BINARY LOGS TO 'x'"}, {"aa", "CHANGE MASTER TO MASTER_HOST = 'x'"}, {"aa", "STOP SLAVE"}, {"aa", "START SLAVE"}, {"aa", "BACKUP STAGE START"}, {"aa", "XA START 'x'"},
	{"aa", "OPTIMIZE TABLE t"}, {"aa", "REPAIR TABLE t"}, {"aa", "CHECK TABLE t"}, {"aa", "ANALYZE TABLE t"}, {"aa", "CACHE INDEX t IN c"}, {"aa", "BINLOG 'x'"},
	{"aa", "CREATE PROCEDURE p() DELETE FROM t"}, {"aa", "CREATE FUNCTION f() RETURNS INT RETURN 1"}, {"aa", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t"},
	{"aa", "CREATE DEFINER = root@localhost VIEW v AS SELECT 1"}, {"aa", "CREATE VIEW v AS SELECT * FROM mysql.user"}, {"aa", "DROP TABLE mysql.user"}, {"aa", "DROP TABLE t, mysql.user"},
	{"aa", "ALTER TABLE mysql.user ADD x INT"}, {"aa", "RENAME TABLE t TO other.t"}, {"aa", "TRUNCATE mysql.user"}, {"aa", "DROP DATABASE mysql"}, {"aa", "DROP DATABASE other"}, {"aa", "CREATE DATABASE sys"},
	{"aa", "CREATE TABLE other.x (a INT PRIMARY KEY)"}, {"sa", "CREATE TABLE x (a INT PRIMARY KEY) ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd'"},
	{"sa", "CREATE TABLE x (a INT PRIMARY KEY) DATA DIRECTORY = '/tmp'"}, {"wa", "CREATE TEMPORARY TABLE x (a INT) ENGINE FEDERATED CONNECTION 'mysql://x'"},
	{"aa", "UNKNOWN VERB"}, {"aa", "'SELECT' 1"}, {"aa", "SELECT 'open"}, {"aa", "SELECT 1; SELECT 'open"}, {"aa", "SELECT 1; UNKNOWN"},
	{"ra", "SELECT 1 /*!99999 ' */ /*!50000 ; DROP TABLE t */ /*!99999 ' */"}, {"ss", `SELECT 'a\'; DROP TABLE t; -- '`}, {"rr", `SELECT "a'; DROP TABLE t; -- '"`}, {"ss", `SELECT "a\"; DROP TABLE t; -- "`},
	// What SQLite takes for the name of a parameter.
	{"wa", "SELECT :a(');DELETE/**/FROM/**/t--')"}, {"wr", "SELECT @a(');DELETE/**/FROM/**/t--')"}, {"wa", "SELECT $a::b(;');DELETE/**/FROM/**/t--')"}, {"oa", "DELETE FROM t WHERE a = :a('); DELETE FROM _ddb_meta--')"},
	{"rr", "SELECT * FROM t WHERE a = :a AND b = ?"}, {"ra", "SELECT :a::b(c), $a(b), @a"},
	// White space that is none everywhere.
	{"wr", "WITH c AS (SELECT 1) \ufeffDELETE FROM t"}, {"aa", "SELECT \ufeffload_extension('x')"}, {"ar", "SELECT * FROM \ufeff_ddb_meta"}, {"ow", "DELETE FROM \ufeff_ddb_meta"},
	{"rw", "SELECT * FROM t FOR\xa0UPDATE"}, {"ra", "SELECT 1\xa0INTO\xa0OUTFILE '/tmp/x'"}, {"ra", "SELECT 1 xàINTO OUTFILE '/tmp/x'"}, {"ao", "DELETE FROM\xa0shop_ddb.meta"},
	{"rr", "SELECT à, t.à, 'à' FROM t WHERE t.à = 'à'"}, {"ww", "INSERT INTO t VALUES ('à\xa0DROP TABLE t')"},
	// ddb's own tables.
	{"ar", "SELECT * FROM ('_ddb_meta')"}, {"ar", "SELECT 1 FROM t WHERE a IN '_ddb_meta'"}, {"ar", "SELECT * FROM t JOIN ('_ddb_meta')"}, {"ww", "INSERT INTO t SELECT a FROM u WHERE a IN ('_ddb_meta')"},
	{"aa", "SELECT * FROM journals"}, {"oo", "DELETE FROM journals"}, {"oo", "UPDATE t JOIN `Journals` j ON t.a = j.a SET j.v = 1"},
	{"aa", "SELECT * FROM shop_ddb.journal"}, {"ar", "SELECT * FROM _ddb_meta"}, {"ow", "DELETE FROM _ddb_out_1"}, {"ow", `DELETE FROM "_DDB_Meta"`}, {"ow", "DELETE FROM [_ddb_meta]"},
	{"ow", "DELETE FROM '_ddb_meta'"}, {"ow", "UPDATE OR IGNORE '_ddb_meta' SET v = 1"}, {"ow", "INSERT INTO t SELECT v FROM _ddb_meta"}, {"oa", "DELETE FROM main . /* x */ _ddb_meta"},
	{"os", "CREATE TABLE _ddb_mine (a INT PRIMARY KEY)"}, {"os", "ALTER TABLE t RENAME TO _ddb_t"}, {"os", "DROP TABLE IF EXISTS _ddb_meta"}, {"os", "DROP TABLE '_ddb_meta'"},
	{"os", "CREATE VIEW v AS SELECT * FROM _ddb_meta"}, {"oa", "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM _ddb_out_1; END"}, {"os", "DROP TRIGGER _ddb_t_ai"},
	{"ww", "INSERT INTO t VALUES ('_ddb_meta')"}, {"ww", "UPDATE t SET a = 'shop_ddb.journal'"}, {"ww", "INSERT INTO shop_ddb VALUES (1)"},
	{"ao", "DELETE FROM shop_ddb.journal"}, {"ao", "DELETE FROM `SHOP_ddb` . `journal`"}, {"ao", `DELETE FROM "shop_ddb".journal`}, {"ao", "UPDATE t, shop_ddb.meta m SET m.v = 1"},
	{"ao", "WITH c AS (SELECT 1) DELETE FROM shop_ddb.journal"}, {"ao", "REPLACE shop_ddb.meta VALUES (1, 2)"}, {"ao", "INSERT INTO shop_ddb.meta SELECT * FROM t"}, {"ao", "DELETE m FROM t JOIN shop_ddb.meta m"},
	{"ao", "DROP DATABASE shop_ddb"}, {"ao", "DROP DATABASE IF EXISTS shop_ddb"}, {"ao", "DROP TABLE shop_ddb.journal"}, {"ao", "TRUNCATE shop_ddb.journal"}, {"ao", "RENAME TABLE shop_ddb.journal TO shop.j"},
	{"ao", "RENAME TABLE t TO shop_ddb.t"}, {"ao", "ALTER TABLE shop_ddb.meta ADD x INT"}, {"ao", "CREATE VIEW v AS SELECT * FROM shop_ddb.meta"}, {"ao", "USE shop_ddb"}, {"so", "DROP TRIGGER ddb_1_ai"},
	{"ao", "EXECUTE IMMEDIATE 'DELETE FROM shop_ddb.journal'"}, {"ao", "PREPARE s FROM 'DELETE FROM `shop_ddb`.journal'"}, {"ao", "CREATE PROCEDURE p() DELETE FROM shop_ddb.journal"},
	{"ao", "CREATE PROCEDURE p() EXECUTE IMMEDIATE 'DELETE FROM shop_ddb.meta'"}, {"aa", "SET @x = 'DELETE FROM shop_ddb.meta'"}, {"ao", "BEGIN NOT ATOMIC DELETE FROM shop_ddb.meta; END"},
	{"wo", "DELETE /*!50000 FROM shop_ddb.meta */"}, {"ao", "LOAD DATA INFILE 'x' INTO TABLE shop_ddb.meta"}, {"ao", "LOCK TABLES shop_ddb.meta WRITE"}, {"ao", "CALL shop_ddb.p()"}, {"ao", "CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW DELETE FROM shop_ddb.meta"},
}

// Each role may run what it is for, and nothing else: the table of statements, by three roles, by two engines.
func TestNeeds(t *testing.T) {
	seen := map[string]bool{}
	for _, st := range statements {
		if len(st.needs) != 2 || seen[st.text] {
			t.Fatalf("%q is told twice, or not what it needs", st.text)
		}
		seen[st.text] = true
		for i, d := range []sqlclass.Dialect{sqlclass.SQLite, sqlclass.MySQL} {
			want := Need(strings.IndexByte("rwsao", st.needs[i]))
			got, reason := Needs(d, st.text, testScope)
			for role, most := range map[string]Need{"read": Read, "write": Change, "admin": Administer} {
				if may, should := got <= most, want <= most; may != should {
					t.Errorf("%v: %s may run %q: %v, want %v; it %s", d, role, st.text, may, should, reason)
				}
			}
			if got != want {
				t.Errorf("%v: %q needs %c, want %c; it %s", d, st.text, "rwsao"[got], st.needs[i], reason)
			}
			if got > Change && reason == "" {
				t.Errorf("%v: %q: no reason for %c", d, st.text, "rwsao"[got])
			}
		}
	}
	if len(seen) < 150 {
		t.Errorf("%d statements", len(seen))
	}
}

// A text that needs more only as another sql_mode reads it is refused with the way out.
func TestNeedsUnderAnotherMode(t *testing.T) {
	for text, want := range map[string]bool{
		`INSERT INTO t VALUES ('a\'; b')`: true, `INSERT INTO t VALUES ("a\"; DROP TABLE t -- ")`: true, `SELECT 'a\'; DELETE FROM t -- '`: true,
		"DROP TABLE t": false, `CREATE TABLE x (a INT COMMENT 'a\'b')`: false, `SHOW GRANTS -- 'a\'; b'`: false,
	} {
		if _, reason := Needs(sqlclass.MySQL, text, Scope{Databases: []string{"shop"}, Own: "shop_ddb"}); strings.Contains(reason, "give values as arguments") != want {
			t.Errorf("%s: %q", text, reason)
		}
	}
}

// Letters of any case, and white space and comments between the tokens, change nothing.
func TestNeedsHoweverWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := rapid.SampledFrom(statements).Draw(t, "statement")
		d := rapid.SampledFrom([]sqlclass.Dialect{sqlclass.SQLite, sqlclass.MySQL}).Draw(t, "dialect")
		if strings.ContainsAny(st.text, "'\"`[\\#@/-") || !utf8.ValidString(st.text) {
			return
		}
		want, _ := Needs(d, st.text, testScope)
		var b strings.Builder
		for _, r := range st.text {
			if r == ' ' {
				b.WriteString(rapid.SampledFrom([]string{" ", "\n", "\t/* ; DROP */ ", "/**/", "-- x\n"}).Draw(t, "space"))
				continue
			}
			if rapid.Bool().Draw(t, "upper") {
				b.WriteString(strings.ToUpper(string(r)))
			} else {
				b.WriteString(strings.ToLower(string(r)))
			}
		}
		if got, reason := Needs(d, b.String(), testScope); got != want {
			t.Fatalf("%v: %q needs %c, want %c; it %s", d, b.String(), "rwsao"[got], "rwsao"[want], reason)
		}
	})
}

// Whatever the bytes are, the answer comes, and several statements need what the worst of them needs.
func FuzzNeeds(f *testing.F) {
	for _, st := range statements {
		f.Add(st.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []sqlclass.Dialect{sqlclass.SQLite, sqlclass.MySQL} {
			one, _ := Needs(d, text, testScope)
			if both, _ := Needs(d, "SHUTDOWN; "+text, testScope); both < Administer {
				t.Errorf("%v: %q hides what stands before it", d, text)
			}
			if one == Own {
				continue
			}
			OwnTables(d, text, testScope)
		}
	})
}
