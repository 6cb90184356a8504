package sqlclass

import (
	"os"
	"strings"
	"testing"
)

// No text makes a question about it panic or never end, in either dialect.
func FuzzClassify(f *testing.F) {
	known, err := os.ReadFile("testdata/classify.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(known)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			statement := strings.TrimLeft(line, "abcdefghijklmnopqrstuvwxyz") // the dialect, then the kind
			statement = strings.TrimLeft(strings.TrimLeft(statement, " "), "abcdefghijklmnopqrstuvwxyz")
			f.Add(strings.ReplaceAll(strings.TrimLeft(statement, " "), "⏎", "\n"))
		}
	}
	for _, text := range []string{"SET STATEMENT a=1 FOR CREATE TABLE t (a INT)", "/*!50003 SELECT */ f()", "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN INSERT INTO y VALUES (1); END",
		"INSERT INTO t (a) VALUES (1), (2) ON DUPLICATE KEY UPDATE a = 1", "ALTER TABLE `a``b`.c RENAME TO \"d\"", "EXPLAIN ANALYZE DELETE FROM t", "WITH x AS (SELECT 1) UPDATE t SET a = 1", "'", "/*", "`", "$$", "\\", "[x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []Dialect{SQLite, MySQL} {
			if Classify(d, text) == Read && Dynamic(d, text) {
				t.Errorf("%q is a read, and runs what it does not show", text)
			}
			Blank(d, text)
			AsksConnection(d, text)
			SpellsRows(d, text)
			Names(d, text)
			_, _ = ParseSchema(d, text)
			_, _ = Split(d, text)
		}
		Public(text)
		Brief(text)
		BuiltIn(text)
		Inserts(text)
		HasInsert(text)
		ParseTrigger(text, "id")
		Keyless(text)
	})
}
