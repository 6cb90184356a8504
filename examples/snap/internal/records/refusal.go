package records

import (
	"regexp"
	"slices"
	"strings"
)

// Refusal is a rule of the database that a row breaks, told for the person who has typed it.
type Refusal struct {
	Columns []string // that the rule names; the first is where to look
	Reason  string
	Err     error // the database's own words
}

// Error names the columns and the reason.
func (r *Refusal) Error() string {
	if len(r.Columns) == 0 {
		return r.Reason
	}
	return strings.Join(r.Columns, ", ") + ": " + r.Reason
}

// Unwrap returns r.Err.
func (r *Refusal) Unwrap() error { return r.Err }

// rules are how the databases say that a row breaks one. What the group of a pattern holds is named columns' names (SQLite
// puts the table's before them), or the name of a key of MariaDB's.
var rules = []struct {
	pattern *regexp.Regexp
	reason  string
}{
	{regexp.MustCompile(`UNIQUE constraint failed: (.+?)(?: \(\d+\))?$`), "another row has this value"},
	{regexp.MustCompile(`(?s)Error 1062 .*for key '([^']+)'`), "another row has this value"},
	{regexp.MustCompile(`NOT NULL constraint failed: (.+?)(?: \(\d+\))?$`), "must not be NULL"},
	{regexp.MustCompile(`Error 1048 .*Column '([^']+)'`), "must not be NULL"},
	{regexp.MustCompile(`(?s)Error (?:1406|1264|1265|1366|1292) .*column .*?'?([^'.` + "`" + `]+)['` + "`" + `] at row`), "the database does not take this value"},
	{regexp.MustCompile(`FOREIGN KEY constraint failed`), "refers to a row that is not there, or other rows refer to this one"},
	{regexp.MustCompile(`Error 1452 .*FOREIGN KEY \(([^)]+)\)`), "there is no row that it refers to"},
	{regexp.MustCompile(`Error 1451 `), "other rows refer to this one"},
	{regexp.MustCompile(`CHECK constraint failed: (.+?)(?: \(\d+\))?$`), "the table's rule does not allow this value"},
	{regexp.MustCompile(`Error 4025 .*CONSTRAINT ` + "`([^`]+)`"), "the table's rule does not allow this value"},
}

// explain turns the error of a write into a Refusal if it is one.
func (t *Table) explain(err error) error {
	if err == nil {
		return nil
	}
	for _, rule := range rules {
		m := rule.pattern.FindStringSubmatch(err.Error())
		if m == nil {
			continue
		}
		r := &Refusal{Reason: rule.reason, Err: err}
		if len(m) > 1 {
			r.Columns = t.named(m[1])
		}
		switch {
		case len(r.Columns) > 1 && strings.HasPrefix(rule.reason, "another"):
			r.Reason = "another row has these values"
		case len(r.Columns) == 0 && len(m) > 1:
			r.Reason += " (" + m[1] + ")"
		}
		return r
	}
	return err
}

// named returns the columns that a rule names: by their names, or by that of the key that they are in.
func (t *Table) named(rule string) (columns []string) {
	if rule == "PRIMARY" || strings.HasSuffix(rule, ".PRIMARY") {
		for _, c := range t.KeyColumns() {
			columns = append(columns, c.Name)
		}
		return columns
	}
	for _, name := range strings.Split(strings.ReplaceAll(rule, "`", ""), ", ") {
		name = strings.TrimPrefix(name, t.Name+".")
		if !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Name == name }) {
			return nil
		}
		columns = append(columns, name)
	}
	return columns
}
