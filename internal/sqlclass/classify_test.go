package sqlclass

import (
	"os"
	"strings"
	"testing"
)

type classCase struct {
	dialect   Dialect
	kind, sql string
}

func classCases(t testing.TB) []classCase {
	t.Helper()
	text, err := os.ReadFile("testdata/classify.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []classCase
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		dialect, rest, _ := strings.Cut(line, " ")
		kind, sql, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		sql = strings.ReplaceAll(strings.TrimLeft(sql, " "), "⏎", "\n")
		if dialect != "mysql" {
			cases = append(cases, classCase{SQLite, kind, sql})
		}
		if dialect != "sqlite" {
			cases = append(cases, classCase{MySQL, kind, sql})
		}
	}
	return cases
}

// Every case of the story file gets its kind, also behind a byte order mark
// and in either letter case.
func TestClassify(t *testing.T) {
	for _, c := range classCases(t) {
		for _, sql := range []string{c.sql, "\uFEFF" + c.sql, "\n\t" + strings.ToUpper(c.sql), strings.ToLower(c.sql)} {
			sql = strings.ReplaceAll(sql, "/*m!", "/*M!")
			if got := Classify(c.dialect, sql); got.String() != c.kind {
				t.Errorf("%v: Classify(%q) = %v, want %v", c.dialect, sql, got, c.kind)
			}
		}
	}
}

// What has no text is no statement, and a NUL byte hides nothing.
func TestClassifyOddText(t *testing.T) {
	for _, d := range []Dialect{SQLite, MySQL} {
		for sql, want := range map[string]Kind{
			"": Other, "\uFEFF": Other, " \n": Other,
			"SELECT 1\x00; DELETE FROM t": Write,
			"SELECT 1 --\nFOR UPDATE":     Write,
			"SELECT 1 -- x\r\nFOR UPDATE": Write,
		} {
			if got := Classify(d, sql); got != want {
				t.Errorf("%v: Classify(%q) = %v, want %v", d, sql, got, want)
			}
		}
	}
}

// No case of the story file makes Classify allocate.
func TestClassifyDoesNotAllocate(t *testing.T) {
	for _, c := range classCases(t) {
		if n := testing.AllocsPerRun(10, func() { Classify(c.dialect, c.sql) }); n != 0 {
			t.Errorf("%v: Classify(%q) allocates %v times", c.dialect, c.sql, n)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, c := range []struct {
		name    string
		dialect Dialect
		sql     string
	}{
		{"tiny", MySQL, "SELECT 1"},
		{"point", MySQL, "SELECT id, name, email FROM users WHERE id = ?"},
		{"pointSQLite", SQLite, "SELECT id, name, email FROM users WHERE id = ?"},
		{"join", MySQL, "SELECT u.id, COUNT(*) AS n FROM users u JOIN orders o ON (o.user_id = u.id) WHERE o.state IN ('open', 'paid') GROUP BY u.id ORDER BY n DESC LIMIT 10"},
		{"insert", MySQL, "INSERT INTO users (name, email) VALUES (?, ?)"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(c.dialect, c.sql)
			}
		})
	}
}
