package apply

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// A row's values were all accepted once, but not all of them would be again: an ENUM's error value, or what a CHECK forbids that
// was made without looking at the rows. The server judges a row as a whole, also where one column changes. So a row that it refuses
// is written unjudged, and judged then: by whether the server has kept the values, and by the CHECKs on those that were given.

// Unjudged is the beginning of a statement that stores what it can, on MariaDB.
const Unjudged = "SET STATEMENT sql_mode='" + lang.SQLMode + "', check_constraint_checks=0 FOR "

// fitting calls write, which writes the row, and again unjudged if the server does not take one of the row's values.
func (w *writer) fitting(r dialect.Row, write func() error) error {
	refused := write()
	if !lang.Unfit(refused) {
		return refused
	}
	if err := w.unjudged(write); lang.Unfit(err) {
		return refused
	} else if err != nil {
		return err
	}
	kept, err := w.kept(r)
	if err == nil && kept {
		kept, err = w.holds(r)
	}
	if err == nil && !kept {
		err = refused
	}
	return err
}

// unjudged calls write in a session in which the server stores what it can.
func (w *writer) unjudged(write func() error) error {
	lax, strict := "SET sql_mode='"+lang.SQLMode+"'", "SET sql_mode='"+lang.BatchMode+"'"
	if w.rows.server.MariaDB {
		lax, strict = lax+", check_constraint_checks=0", strict+", check_constraint_checks=1"
	}
	if err := lang.Exec(w.ctx, w.q, lax); err != nil {
		return w.fail(err, nil)
	}
	err := write()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), sessions.RollbackTimeout)
	defer cancel()
	if serr := lang.Exec(ctx, w.q, strict); serr != nil {
		return fmt.Errorf("%w: %v", driver.ErrInvalidConn, serr) // nobody may go on with such a session
	}
	return err
}

// kept reports whether the row is there with exactly its values.
func (w *writer) kept(r dialect.Row) (same bool, err error) {
	err = w.rows.lookup(w.ctx, w.q, w.t, [][]any{r.Key}, func(is dialect.Row) error {
		same = is.Values != nil
		for i, c := range w.t.StoredColumns {
			same = same && bytes.Equal(c.AppendLiteral(nil, is.Values[i]), c.AppendLiteral(nil, r.Values[i]))
		}
		return nil
	})
	if err != nil {
		err = w.fail(err, nil)
	}
	return same, err
}

// holds reports whether the row, which is there, holds to the CHECKs on columns whose values were given.
func (w *writer) holds(r dialect.Row) (bool, error) {
	if !w.rows.server.MariaDB {
		return true, nil // they cannot be put off, nor come after rows that break them
	}
	columns := w.t.Stored
	if r.Given != nil {
		columns = nil
		for i, name := range w.t.Stored {
			if r.Given[i] {
				columns = append(columns, name)
			}
		}
	}
	broken, err := Checks(w.ctx, w.q, w.t.Database, w.t.Name, columns)
	if err != nil || broken == "" {
		return err == nil, err
	}
	b := catalog.AppendKey([]byte("SELECT 1 FROM "+w.t.SQLName()+" WHERE "), w.t, r.Key)
	rows, err := lang.Texts(w.ctx, w.q, string(b)+" AND ("+broken+")")
	if err != nil {
		return false, w.fail(err, [][]any{r.Key})
	}
	return len(rows) == 0, nil
}

// Checks returns a condition that is true for a row of the table, in the database of that name, "" for the current one, that breaks a CHECK
// on one of the columns, or on a generated column made of them; "" if there is no such CHECK. A text that looks like a column's name counts as one.
func Checks(ctx context.Context, q dialect.Querier, database, table string, columns []string) (string, error) {
	where := "DATABASE()"
	if database != "" {
		where = lang.Text(database)
	}
	where += " AND TABLE_NAME=" + lang.Text(table)
	made, err := lang.Texts(ctx, q, "SELECT COLUMN_NAME, GENERATION_EXPRESSION FROM information_schema.COLUMNS WHERE GENERATION_EXPRESSION<>'' AND TABLE_SCHEMA="+
		where+" ORDER BY ORDINAL_POSITION")
	var checks [][]sql.NullString
	if err == nil {
		checks, err = lang.Texts(ctx, q, "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA="+where)
	}
	if err != nil {
		return "", fmt.Errorf("read the CHECK constraints of table %s: %w", table, lang.Wrap(err))
	}
	names := func(expression string) bool {
		expression = strings.ToLower(expression)
		return slices.ContainsFunc(columns, func(c string) bool {
			c = strings.ToLower(c)
			// The server shows names as the session's sql_mode quotes them.
			return strings.Contains(expression, lang.Ident(c)) || strings.Contains(expression, `"`+strings.ReplaceAll(c, `"`, `""`)+`"`)
		})
	}
	columns = slices.Clone(columns)
	for range made { // they may be made of each other, in any order
		for _, g := range made {
			if names(g[1].String) && !slices.Contains(columns, g[0].String) {
				columns = append(columns, g[0].String)
			}
		}
	}
	var list []string
	for _, c := range checks {
		if names(c[0].String) {
			list = append(list, "NOT ("+c[0].String+")")
		}
	}
	return strings.Join(list, " OR "), nil
}
