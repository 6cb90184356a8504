package sqlclass

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What logs and errors repeat of a statement is one short line that ends where a password may begin.
func TestBrief(t *testing.T) {
	for text, want := range map[string]string{
		" CREATE TABLE t (\n id INTEGER)":                        "CREATE TABLE t (",
		"ALTER USER a@b IDENTIFIED BY 'top'":                     "ALTER USER a@b IDENTIFIED …",
		"create user a identified/**/by 'top'":                   "create user a identified …",
		"SET PASSWORD FOR a = PASSWORD('top')":                   "SET PASSWORD …",
		"CHANGE MASTER TO MASTER_PASSWORD='top'":                 "CHANGE MASTER TO MASTER_PASSWORD …",
		"CREATE SERVER s OPTIONS (USER 'u', password 'top')":     "CREATE SERVER s OPTIONS (USER 'u', password …",
		"SELECT '" + strings.Repeat("ü", 100) + "' FROM nowhere": "SELECT '" + strings.Repeat("ü", 54) + "...",
	} {
		got := Brief(text)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("Brief(%q) = %q, want %q", text, got, want)
		}
	}
}
