package sqlclass

import "testing"

// Only what certainly makes a table without a primary key is told to.
func TestKeyless(t *testing.T) {
	for _, sql := range []string{
		"CREATE TABLE t (a INT)",
		"CREATE TABLE IF NOT EXISTS d.t (a INT UNIQUE KEY, KEY (a), b INT, UNIQUE KEY x (b), FOREIGN KEY (b) REFERENCES p (id)) ENGINE=InnoDB",
		"CREATE OR REPLACE TABLE t (`primary` INT COMMENT 'PRIMARY KEY', b TEXT CHECK (b LIKE 'x%')) PARTITION BY KEY (`primary`)",
		"CREATE TABLE t (KEY k (a), a SERIAL)",
	} {
		if !Keyless(sql) {
			t.Errorf("%s: has a key", sql)
		}
	}
	for _, sql := range []string{
		"CREATE TABLE t (a INT PRIMARY KEY)", "CREATE TABLE t (a INT KEY)", "CREATE TABLE t (a INT NOT NULL AUTO_INCREMENT KEY COMMENT 'x', b INT)",
		"CREATE TABLE t (a INT, b INT, CONSTRAINT p PRIMARY KEY USING BTREE (a, b))", "CREATE TABLE t LIKE u", "CREATE TABLE t (LIKE u)",
		"CREATE TABLE t (a INT) SELECT 1 AS a", "CREATE TABLE t SELECT 1", "CREATE TABLE t (a INT /*!50000 PRIMARY KEY */)",
		"CREATE VIEW v (a) AS SELECT 1", "ALTER TABLE t ADD b INT", "CREATE TABLE t",
	} {
		if Keyless(sql) {
			t.Errorf("%s: no key", sql)
		}
	}
}
