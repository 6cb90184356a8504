package sqlclass

import "testing"

// Only a statement whose rows all stand in it, or in its arguments, spells them out.
func TestSpellsRows(t *testing.T) {
	for sql, want := range map[string]bool{
		"INSERT INTO t VALUES (1, 'select'), (2, ?)":                               true,
		"insert ignore into t (`select`) values (?) on duplicate key update a = 1": true,
		"REPLACE t SET a = 1":                             true,
		"/* with */ INSERT INTO t VALUE (1) RETURNING id": true,
		"INSERT INTO t SELECT * FROM u":                   false,
		"INSERT INTO t VALUES ((SELECT 1))":               false,
		"REPLACE INTO t TABLE u":                          false,
		"INSERT INTO t WITH x AS (VALUES (1)) SELECT 1":   false,
		"INSERT INTO t VALUES (1); DELETE FROM t":         false,
		"INSERT INTO t /*!50000 SELECT 1 */":              false,
		"INSERT INTO t VALUES ('":                         false,
		"UPDATE t SET a = 1":                              false,
		"DELETE FROM t":                                   false,
		"CALL p()":                                        false,
		"":                                                false,
	} {
		if got := SpellsRows(MySQL, sql); got != want {
			t.Errorf("%q: got %v", sql, got)
		}
	}
}
