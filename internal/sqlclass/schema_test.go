package sqlclass

import (
	"errors"
	"reflect"
	"testing"
)

// Schema statements of both dialects are described in full.
func TestParseSchema(t *testing.T) {
	table := SchemaInfo{Verb: "CREATE", Object: "TABLE", Name: "t"}
	with := func(base SchemaInfo, change func(*SchemaInfo)) SchemaInfo {
		change(&base)
		return base
	}
	nondeterministic := with(table, func(s *SchemaInfo) { s.Nondeterministic = true })
	asSelect := with(table, func(s *SchemaInfo) { s.AsSelect = true })
	for _, c := range []struct {
		dialect Dialect
		sql     string
		want    SchemaInfo
	}{
		{MySQL, "CREATE TABLE t (a INT, KEY uuid (uuid), `now` INT DEFAULT 'NOW()' COMMENT 'x' /* UUID() */)", table},
		{MySQL, "create table if not exists `my``db` . \"t x\" (a int)",
			with(table, func(s *SchemaInfo) { s.Database, s.Name, s.IfNotExists = "my`db", "t x", true })},
		{MySQL, "CREATE TABLE db.1st (a INT)", with(table, func(s *SchemaInfo) { s.Database, s.Name = "db", "1st" })},
		{MySQL, "CREATE OR REPLACE TEMPORARY TABLE t (a INT)",
			with(table, func(s *SchemaInfo) { s.OrReplace, s.Temporary = true, true })},
		{MySQL, "CREATE TABLE t SELECT 1", asSelect},
		{MySQL, "CREATE TABLE t (a INT) ENGINE=InnoDB AS (SELECT 1)", asSelect},
		{MySQL, "CREATE TABLE t (SELECT 1)", asSelect},
		{MySQL, "CREATE TABLE t AS WITH x AS (SELECT 1) SELECT * FROM x", asSelect},
		{MySQL, "CREATE TABLE t (a INT, b INT GENERATED ALWAYS AS (a + 1)) WITH SYSTEM VERSIONING", table},
		{MySQL, "CREATE TABLE t LIKE u", table},
		{MySQL, "CREATE TABLE t (a DATETIME DEFAULT NOW())", nondeterministic},
		{MySQL, "CREATE TABLE t (a DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)", nondeterministic},
		{MySQL, "CREATE TABLE t (a UUID DEFAULT uuid())", nondeterministic},
		{MySQL, "CREATE TABLE t (a INT DEFAULT (@x))", nondeterministic},
		{MySQL, "CREATE TABLE t (a INT DEFAULT NEXT VALUE FOR s)", nondeterministic},
		{MySQL, "SET STATEMENT a=1 FOR CREATE TABLE t (a INT);", table},
		{MySQL, "/*!50000 CREATE */ TABLE t (a INT)", table},
		{MySQL, "ALTER ONLINE IGNORE TABLE IF EXISTS db.t ADD b INT",
			SchemaInfo{Verb: "ALTER", Object: "TABLE", Database: "db", Name: "t", IfExists: true, Additive: true}},
		{MySQL, "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE db.s",
			SchemaInfo{Verb: "ALTER", Object: "TABLE", Name: "t", More: []Name{{"db", "s"}}}},
		{MySQL, "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES p (b)", SchemaInfo{Verb: "ALTER", Object: "TABLE", Name: "t", References: true}},
		{MySQL, "ALTER TABLE t RENAME INDEX a TO b, RENAME TO u",
			SchemaInfo{Verb: "ALTER", Object: "TABLE", Name: "t", More: []Name{{"", "u"}}}},
		{MySQL, "ALTER TABLE t RENAME db.u", SchemaInfo{Verb: "ALTER", Object: "TABLE", Name: "t", More: []Name{{"db", "u"}}}},
		{MySQL, "DROP TABLE IF EXISTS a, db.b, `c` CASCADE", SchemaInfo{Verb: "DROP", Object: "TABLE", Name: "a", IfExists: true,
			More: []Name{{"db", "b"}, {"", "c"}}}},
		{MySQL, "RENAME TABLE a WAIT 5 TO b, c TO x.d", SchemaInfo{Verb: "RENAME", Object: "TABLE", Name: "a",
			More: []Name{{"", "b"}, {"", "c"}, {"x", "d"}}}},
		{MySQL, "TRUNCATE TABLE db.t", SchemaInfo{Verb: "TRUNCATE", Object: "TABLE", Database: "db", Name: "t"}},
		{MySQL, "TRUNCATE t", SchemaInfo{Verb: "TRUNCATE", Object: "TABLE", Name: "t"}},
		{MySQL, "CREATE UNIQUE INDEX i USING BTREE ON db.t (a)",
			SchemaInfo{Verb: "CREATE", Object: "INDEX", Name: "i", On: Name{"db", "t"}}},
		{MySQL, "DROP INDEX i ON t", SchemaInfo{Verb: "DROP", Object: "INDEX", Name: "i", On: Name{"", "t"}, Additive: true}},
		{MySQL, "CREATE SCHEMA IF NOT EXISTS d", SchemaInfo{Verb: "CREATE", Object: "DATABASE", Database: "d", Name: "d", IfNotExists: true}},
		{MySQL, "ALTER DATABASE CHARACTER SET utf8", SchemaInfo{Verb: "ALTER", Object: "DATABASE"}},
		{MySQL, "CREATE ALGORITHM=MERGE DEFINER=CURRENT_USER() SQL SECURITY INVOKER VIEW v AS SELECT 1",
			SchemaInfo{Verb: "CREATE", Object: "VIEW", Name: "v"}},
		{MySQL, "CREATE DEFINER='a'@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = NOW(); SET NEW.b = 1; END;",
			SchemaInfo{Verb: "CREATE", Object: "TRIGGER", Name: "tr", On: Name{"", "t"}, Nondeterministic: true}},
		{MySQL, mysqlProcedure, SchemaInfo{Verb: "CREATE", Object: "PROCEDURE", Name: "p"}},
		{MySQL, "CREATE USER 'a'@'h', b@db-1 IDENTIFIED BY 'x'", SchemaInfo{Verb: "CREATE", Object: "USER", Name: "a@h"}},
		{MySQL, "DROP USER a, b@'%'", SchemaInfo{Verb: "DROP", Object: "USER", Name: "a", More: []Name{{"", "b@%"}}}},
		{MySQL, "DROP SEQUENCE s", SchemaInfo{Verb: "DROP", Object: "SEQUENCE", Name: "s"}},
		{SQLite, "CREATE TABLE IF NOT EXISTS main.[t] (a, b DEFAULT 'now') WITHOUT ROWID",
			with(table, func(s *SchemaInfo) { s.Database, s.IfNotExists = "main", true })},
		{SQLite, "CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP)", nondeterministic},
		{SQLite, "CREATE TABLE t (a DEFAULT (datetime('now')))", nondeterministic},
		{SQLite, "CREATE TABLE t (a DEFAULT (unixepoch()))", nondeterministic},
		{SQLite, "CREATE TABLE t (a DEFAULT (date('2020-01-01')))", table},
		{SQLite, "CREATE TABLE t (a DEFAULT (random()))", nondeterministic},
		{SQLite, "CREATE TABLE t AS SELECT 1", asSelect},
		{SQLite, "CREATE TABLE temp.t (a)", with(table, func(s *SchemaInfo) { s.Database, s.Temporary = "temp", true })},
		{SQLite, "CREATE VIRTUAL TABLE t USING fts5(a)", with(table, func(s *SchemaInfo) { s.Virtual = true })},
		{SQLite, "CREATE TEMP TRIGGER tr AFTER UPDATE OF a ON t BEGIN DELETE FROM u; END",
			SchemaInfo{Verb: "CREATE", Object: "TRIGGER", Name: "tr", On: Name{"", "t"}, Temporary: true}},
		{SQLite, `ALTER TABLE "a""b" RENAME TO c`, SchemaInfo{Verb: "ALTER", Object: "TABLE", Name: `a"b`, More: []Name{{"", "c"}}}},
		{SQLite, "ALTER TABLE a RENAME b TO c", SchemaInfo{Verb: "ALTER", Object: "TABLE", Name: "a"}},
		{SQLite, "DROP INDEX main.i", SchemaInfo{Verb: "DROP", Object: "INDEX", Database: "main", Name: "i", Additive: true}},
		{SQLite, "CREATE INDEX main.i ON t (a)", SchemaInfo{Verb: "CREATE", Object: "INDEX", Database: "main", Name: "i", On: Name{"main", "t"}}},
	} {
		got, err := ParseSchema(c.dialect, c.sql)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: ParseSchema(%q)\n got %+v, %v\nwant %+v", c.dialect, c.sql, got, err, c.want)
		}
	}
}

// What is no single schema statement is refused.
func TestParseSchemaErrors(t *testing.T) {
	for sql, want := range map[string]error{
		"":                             ErrNotSchema,
		"SELECT 1":                     ErrNotSchema,
		"CREATE":                       ErrNotSchema,
		"CREATE TABLE":                 ErrNotSchema,
		"CREATE nonsense x":            ErrNotSchema,
		"DROP TABLE a; DROP TABLE b":   ErrNotSchema,
		"CREATE TABLE t (a DEFAULT 'x": ErrUnterminated,
		"DROP TABLE `a":                ErrUnterminated,
		"DROP TABLE a\x00":             ErrNUL,
	} {
		for _, d := range []Dialect{SQLite, MySQL} {
			var at *Error
			if _, err := ParseSchema(d, sql); !errors.Is(err, want) || !errors.As(err, &at) {
				t.Errorf("%v: ParseSchema(%q) = %v, want %v", d, sql, err, want)
			}
		}
	}
}

// What looks at rows, or needs a value for those that are there, is not additive.
func TestAdditive(t *testing.T) {
	for sql, want := range map[string]bool{
		"ALTER TABLE t ADD COLUMN a INT": true,
		"ALTER TABLE t ADD a DECIMAL(10, 2) NOT NULL DEFAULT -1.5 AFTER b, ADD INDEX i (a), DROP KEY j, ALGORITHM=INSTANT": true,
		"ALTER TABLE t ADD (a ENUM('x', 'y') NOT NULL DEFAULT 'x', `unique` INT)":                                          true,
		"ALTER TABLE t ADD a INT NOT NULL":                           false,
		"ALTER TABLE t ADD (a INT NOT NULL, b INT DEFAULT 3)":        false,
		"ALTER TABLE t ADD a INT DEFAULT (b + 1)":                    false,
		"ALTER TABLE t ADD a INT AS (b / c)":                         false,
		"ALTER TABLE t ADD a INT UNIQUE":                             false,
		"ALTER TABLE t ADD a INT AUTO_INCREMENT, ADD KEY (a)":        false,
		"ALTER TABLE t ADD INDEX (a), ADD UNIQUE (b)":                false,
		"ALTER TABLE t ADD INDEX (a), MODIFY b INT":                  false,
		"ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)":               false,
		"ALTER TABLE t ADD PARTITION (PARTITION p VALUES IN (1, 2))": false,
		"ALTER TABLE t DROP COLUMN a":                                false,
		"ALTER TABLE t ENGINE=InnoDB":                                false,
		"CREATE INDEX i ON t (a)":                                    true,
		"CREATE UNIQUE INDEX i ON t (a)":                             false,
	} {
		info, err := ParseSchema(MySQL, sql)
		if err != nil || info.Additive != want {
			t.Errorf("%s: additive %v, %v", sql, info.Additive, err)
		}
	}
}
