package sqlclass

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const mysqlProcedure = `CREATE PROCEDURE p(IN a INT, OUT b INT) COMMENT 'x' READS SQL DATA
BEGIN
  DECLARE done INT DEFAULT IF(a, 1, 2);
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = IF(done, 1, 0);
  CASE a WHEN 1 THEN SET b = 1; ELSE BEGIN END; END CASE;
  IF (a > 1) AND (a < 9) THEN SET b = CASE WHEN a THEN IF(a, 1, 2) ELSE IF(a, 3, 4) END; ELSEIF a THEN SELECT 1; END IF;
  again: LOOP
    WHILE a DO SET a = a - 1; DO SLEEP(0); END WHILE;
    REPEAT SET a = a + 1; UNTIL a > REPEAT('1', 1) END REPEAT;
    IF done THEN LEAVE again; END IF;
  END LOOP again;
  FOR i IN 1..10 DO SELECT i FOR UPDATE; END FOR;
  DROP TABLE IF EXISTS tmp;
  SELECT end, begin, t.if FROM t;
END`

// Each list of statements, joined with semicolons, splits into itself.
func TestSplitJoined(t *testing.T) {
	for name, c := range map[string]struct {
		dialect Dialect
		want    []string
	}{
		"plain":   {SQLite, []string{"SELECT 1", "DELETE FROM t", "SELECT ';', \";\", [;], `;` -- ;\n, 2"}},
		"strings": {MySQL, []string{`SELECT ';\';', ";"";", '` + "`" + `;'`, "SELECT `;` # ;\n+ 1", "SELECT 5--1"}},
		"sqlite trigger": {SQLite, []string{
			"CREATE TEMP TRIGGER t AFTER UPDATE ON x BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM y; END",
			"EXPLAIN CREATE TRIGGER t DELETE ON x BEGIN SELECT 1; END",
			"BEGIN", "SELECT 1", "END", "CREATE TABLE \"trigger\" (a)", "SELECT 2"}},
		"mysql procedure": {MySQL, []string{"SELECT 1", mysqlProcedure, "SELECT 2"}},
		"mysql trigger": {MySQL, []string{
			"CREATE DEFINER=`a`@`b` TRIGGER IF NOT EXISTS t BEFORE INSERT ON x FOR EACH ROW IF NEW.a THEN SET NEW.b = 1; END IF",
			"CREATE TRIGGER t BEFORE UPDATE ON x FOR EACH ROW FOLLOWS u BEGIN SET NEW.a = 1; END",
			"CREATE TRIGGER t BEFORE DELETE ON x FOR EACH ROW SET @a = IF(1, 2, 3)",
			"CREATE OR REPLACE TRIGGER t BEFORE DELETE ON x FOR EACH ROW INSERT INTO y SELECT begin FROM z",
			"SELECT 1"}},
		"mysql function": {MySQL, []string{
			"CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN CASE a WHEN 1 THEN IF(a, 1, 2) ELSE 3 END",
			"CREATE AGGREGATE FUNCTION f RETURNS STRING SONAME 'x.so'",
			"CREATE FUNCTION f(a INT) RETURNS SET('a','b') BEGIN RETURN 'a'; END",
			"CREATE FUNCTION f() RETURNS VARCHAR(9) CHARSET utf8 IF 1 THEN RETURN 1; ELSE RETURN 2; END IF",
			"DROP FUNCTION IF EXISTS f", "SELECT 1"}},
		"mysql event": {MySQL, []string{
			"CREATE EVENT IF NOT EXISTS e ON SCHEDULE EVERY IF(1,2,3) HOUR DO BEGIN DELETE FROM t; DELETE FROM u; END",
			"CREATE EVENT e ON SCHEDULE AT NOW() DO DELETE FROM t",
			"ALTER EVENT e DO BEGIN SELECT 1; END", "ALTER EVENT e DISABLE", "DROP EVENT e"}},
		"mysql compound": {MySQL, []string{
			"BEGIN NOT ATOMIC SELECT 1; SELECT 2; END", "BEGIN", "COMMIT",
			"IF 1 THEN SELECT 1; END IF", "l: WHILE 1 DO SELECT 1; LEAVE l; END WHILE l", "SELECT 1"}},
		"executable": {MySQL, []string{
			"/*!40101 SET a=1 */", "/*!50003 CREATE*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN SET @a=1; END */",
			"/*!50000 SELECT 1; SELECT 2 */", "SELECT 1 /*!1 +1 */"}},
	} {
		for _, sep := range []string{";", " ;\n", "; -- note\n", ";;/* ; */"} {
			text := strings.Join(c.want, sep)
			got, err := Split(c.dialect, text)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if have := texts(got); !slices.Equal(have, c.want) {
				t.Errorf("%s: Split(%q):\n got %q\nwant %q", name, text, have, c.want)
			}
		}
	}
}

func texts(list []Statement) []string {
	var all []string
	for _, s := range list {
		all = append(all, s.SQL)
	}
	return all
}

// A script of the mysql client keeps what stands between its delimiters whole.
func TestSplitDelimiter(t *testing.T) {
	const script = "SELECT 1;\ndelimiter $$\r\nCREATE PROCEDURE p()\nBEGIN\n  SELECT 1; SELECT '$$';\nEND$$\n; $$\n" +
		"SELECT 1; SELECT 2 $$\nDELIMITER //\nSELECT 8/2//\nDELIMITER ;\nSELECT a$$ FROM t;\n"
	got, err := Split(MySQL, script)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"SELECT 1", "CREATE PROCEDURE p()\nBEGIN\n  SELECT 1; SELECT '$$';\nEND", "SELECT 1; SELECT 2", "SELECT 8/2",
		"SELECT a$$ FROM t"}
	if !slices.Equal(texts(got), want) {
		t.Fatalf("got %q", texts(got))
	}
	for i, kind := range []Kind{Read, Schema, Write, Read, Read} {
		if got[i].Kind != kind {
			t.Errorf("%q is a %v, want %v", got[i].SQL, got[i].Kind, kind)
		}
		if !strings.HasPrefix(script[got[i].Offset:], got[i].SQL) {
			t.Errorf("%q does not stand at %d", got[i].SQL, got[i].Offset)
		}
	}
}

// What never ends is reported with the place where it begins.
func TestSplitErrors(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		sql     string
		offset  int
		err     error
	}{
		{SQLite, "SELECT 1; SELECT 'abc", 17, ErrUnterminated},
		{SQLite, "SELECT [abc", 7, ErrUnterminated},
		{MySQL, `SELECT 'abc\'`, 7, ErrUnterminated},
		{MySQL, "SELECT `a``", 7, ErrUnterminated},
		{MySQL, "SELECT @'abc", 8, ErrUnterminated},
		{MySQL, "SELECT 1 /* x", 9, ErrUnterminated},
		{MySQL, "SELECT 1 /*!50000 + 1", 9, ErrUnterminated},
		{SQLite, "SELECT 1\x00", 8, ErrNUL},
		{MySQL, "SELECT 1;\nDELIMITER \nSELECT 1", 10, ErrDelimiter},
	} {
		_, err := Split(c.dialect, c.sql)
		var at *Error
		if !errors.Is(err, c.err) || !errors.As(err, &at) || at.Offset != c.offset {
			t.Errorf("Split(%q) = %v, want offset %d, %v", c.sql, err, c.offset, c.err)
		}
	}
}

// Only what discards data with no condition is destructive.
func TestDestructive(t *testing.T) {
	for sql, want := range map[string]bool{
		"DROP TABLE t":                                         true,
		"/* x */ drop index i":                                 true,
		"DROP PREPARE s":                                       false,
		"TRUNCATE t":                                           true,
		"DELETE FROM t":                                        true,
		"DELETE FROM t LIMIT 1":                                true,
		"DELETE FROM t WHERE a":                                false,
		"DELETE FROM t -- WHERE":                               true,
		"UPDATE t SET a = 'WHERE'":                             true,
		"UPDATE t SET a = (SELECT 1 FROM u WHERE b)":           true,
		"UPDATE t SET a = 1 WHERE b":                           false,
		"WITH x AS (SELECT 1 FROM t WHERE a) DELETE FROM t":    true,
		"WITH x AS (SELECT 1) DELETE FROM t WHERE a":           false,
		"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=1": false,
		"REPLACE INTO t VALUES (1)":                            false,
		"GRANT DELETE, DROP ON *.* TO a@b":                     false,
		"EXPLAIN DELETE FROM t":                                false,
		"ANALYZE FORMAT=JSON DELETE FROM t":                    true,
		"EXPLAIN ANALYZE DELETE FROM t":                        true,
		"SET STATEMENT a=1 FOR DELETE FROM t":                  true,
		"ALTER TABLE t DROP COLUMN a":                          true,
		"ALTER TABLE t ADD b INT, DROP a":                      true,
		"ALTER TABLE t DROP INDEX i, DROP PRIMARY KEY":         false,
		"ALTER TABLE t ALTER a DROP DEFAULT":                   false,
		"ALTER TABLE t TRUNCATE PARTITION p":                   true,
		"CREATE OR REPLACE TABLE t (a INT)":                    true,
		"CREATE OR REPLACE VIEW v AS SELECT 1":                 false,
		"CREATE TABLE t (a INT)":                               false,
		"CREATE PROCEDURE p() BEGIN DELETE FROM t; END":        false,
		"SELECT 1 FROM t FOR UPDATE":                           false,
	} {
		list, err := Split(MySQL, sql)
		if err != nil || len(list) != 1 || list[0].Destructive != want {
			t.Errorf("Split(%q) = %+v, %v; want Destructive %v", sql, list, err, want)
		}
	}
	list, err := Split(MySQL, "DELIMITER //\nSELECT 1; DROP TABLE t //")
	if err != nil || len(list) != 1 || !list[0].Destructive {
		t.Errorf("several statements under one delimiter: %+v, %v", list, err)
	}
}

// No text makes the package panic, and the pieces of Split stand in the text
// in order, with nothing but delimiters and comments between them.
func FuzzSplit(f *testing.F) {
	for _, c := range classCases(f) {
		f.Add(c.dialect == MySQL, c.sql)
	}
	f.Add(true, mysqlProcedure+"; SELECT 1")
	f.Add(true, "DELIMITER $$\nSELECT 1$$ DELIMITER ;\nSELECT 2; /*! x */")
	f.Add(false, "CREATE TRIGGER t BEGIN SELECT 1; END; SELECT 'x';")
	f.Fuzz(func(t *testing.T, mysql bool, sql string) {
		d := SQLite
		if mysql {
			d = MySQL
		}
		kind := Classify(d, sql)
		_, _ = ParseSchema(d, sql)
		_ = StateOf(d, sql)
		list, err := Split(d, sql)
		if err != nil {
			if kind == Read {
				t.Fatalf("a read that cannot be split: %v", err)
			}
			return
		}
		if kind == Read && len(list) > 1 {
			t.Fatalf("a read of %d statements", len(list))
		}
		pos := 0
		for _, s := range list {
			if s.SQL == "" || s.Offset < pos || !strings.HasPrefix(sql[s.Offset:], s.SQL) {
				t.Fatalf("%q at %d, after %d", s.SQL, s.Offset, pos)
			}
			checkGap(t, d, sql, pos, s.Offset)
			if k := Classify(d, s.SQL); k != s.Kind {
				t.Fatalf("%q is a %v and a %v", s.SQL, k, s.Kind)
			}
			pos = s.Offset + len(s.SQL)
		}
		checkGap(t, d, sql, pos, len(sql))
	})
}

// checkGap fails unless text[from:to] holds semicolons and comments only. Behind
// a DELIMITER command it may hold anything, for the delimiter is anything.
func checkGap(t *testing.T, d Dialect, text string, from, to int) {
	t.Helper()
	if d == MySQL && strings.Contains(strings.ToUpper(text[:to]), "DELIMITER") {
		return
	}
	lx := newLexer(d, text[from:to])
	for tok := lx.next(); tok.kind != tokEOF; tok = lx.next() {
		if !tok.is(';') {
			t.Fatalf("%q was left out", text[from:to])
		}
	}
}
