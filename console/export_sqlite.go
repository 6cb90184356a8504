package console

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// insertBytes is how long a statement of several rows may grow.
const insertBytes = 256 << 10

// exportSQLite writes the schema's tables, then the rows, then what must not act while rows are loaded.
func exportSQLite(ctx context.Context, c *ddb.Cluster, w io.Writer, m *meter) (err error) {
	objects, err := c.Objects(ctx)
	if err != nil {
		return err
	}
	tables, err := c.Tables(ctx)
	if err != nil {
		return err
	}
	tx, err := c.BeginTx(ddb.WithNode(ctx, c.ID()), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, "-- ddb: export of node %s, SQLite. Load it into an empty database: sqlite3 new.db < FILE\n", c.ID())
	out.WriteString("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")
	writeObjects(out, objects, true)
	byName := make(map[string]*dialect.Table, len(tables))
	for _, t := range tables {
		byName[t.Name] = t
	}
	for _, o := range objects {
		if t := byName[o.Name]; o.Kind == "table" && t != nil && !t.Own {
			if err := exportTable(ctx, tx, out, t, m); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
	}
	if err := exportSequences(ctx, tx, out, byName); err != nil {
		return err
	}
	writeObjects(out, objects, false)
	out.WriteString("COMMIT;\n")
	return out.Flush()
}

// writeObjects writes the statements of the tables, or of all else.
func writeObjects(out *bufio.Writer, objects []dialect.Object, tables bool) {
	for _, o := range objects {
		if (o.Kind == "table") == tables {
			text := strings.TrimRight(o.SQL, "; \n")
			out.WriteString(text)
			if strings.Contains(text[strings.LastIndexByte(text, '\n')+1:], "--") {
				out.WriteByte('\n') // the text may end in a comment
			}
			out.WriteString(";\n")
		}
	}
}

// exportTable writes the rows. The columns are read as expressions, so that the driver gives them as they are stored.
func exportTable(ctx context.Context, tx *sql.Tx, out *bufio.Writer, t *dialect.Table, m *meter) (err error) {
	m.Table = t.Name
	var names, reads []string
	for _, name := range t.Stored {
		q := quoteFor(sqlclass.SQLite, name)
		names, reads = append(names, q), append(reads, "+"+q)
	}
	head := "INSERT INTO " + quoteFor(sqlclass.SQLite, t.Name) + "(" + strings.Join(names, ",") + ") VALUES"
	query := "SELECT " + strings.Join(reads, ", ") + " FROM " + quoteFor(sqlclass.SQLite, t.Name)
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	var line []byte
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if len(line) == 0 {
			line = append(line, head...)
		} else {
			line = append(line, ',')
		}
		line = append(line, "\n("...)
		for i, v := range values {
			if i > 0 {
				line = append(line, ',')
			}
			if line, err = appendLiteral(line, v); err != nil {
				return fmt.Errorf("column %s: %w", names[i], err)
			}
		}
		line = append(line, ')')
		m.Rows++
		if len(line) >= insertBytes {
			if _, err := out.Write(append(line, ";\n"...)); err != nil {
				return err
			}
			line = line[:0]
		}
	}
	if err := rows.Err(); err != nil || len(line) == 0 {
		return err
	}
	_, err = out.Write(append(line, ";\n"...))
	return err
}

// exportSequences keeps the next keys of AUTOINCREMENT, table by table: the file must not touch others'.
func exportSequences(ctx context.Context, tx *sql.Tx, out *bufio.Writer, tables map[string]*dialect.Table) (err error) {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'").Scan(&n); err != nil || n == 0 {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT name, seq FROM sqlite_sequence ORDER BY name")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		var seq int64
		if err := rows.Scan(&name, &seq); err != nil {
			return err
		}
		if t := tables[name]; t != nil && !t.Own {
			text, _ := appendLiteral(nil, name)
			fmt.Fprintf(out, "DELETE FROM sqlite_sequence WHERE name=%s;\nINSERT INTO sqlite_sequence VALUES(%s,%d);\n", text, text, seq)
		}
	}
	return rows.Err()
}

// appendLiteral writes a value as SQL that gives back the same storage class and the same bytes.
func appendLiteral(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "NULL"...), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		switch {
		case math.IsInf(v, 1):
			return append(b, "9e999"...), nil
		case math.IsInf(v, -1):
			return append(b, "-9e999"...), nil
		}
		return appendReal(b, v), nil
	case string:
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			b = append(b, "CAST(X'"...)
			b = hex.AppendEncode(b, []byte(v))
			return append(b, "' AS TEXT)"...), nil
		}
		b = append(b, '\'')
		b = append(b, strings.ReplaceAll(v, "'", "''")...)
		return append(b, '\''), nil
	case []byte:
		b = append(b, "X'"...)
		b = hex.AppendEncode(b, v)
		return append(b, '\''), nil
	}
	return b, fmt.Errorf("a value of the Go type %T cannot be exported", v)
}

// appendReal writes a float. SQLite's reading of decimals is exact only for short ones of
// moderate size; others are written as a whole number and powers of two, which every step keeps exact.
func appendReal(b []byte, v float64) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	text := string(b[start:])
	if !strings.ContainsAny(text, ".e") {
		b = append(b, ".0"...) // or it would be an integer
	}
	if size := math.Abs(v); v == 0 || len(text) <= 15 && size > 1e-15 && size < 1e15 {
		return b
	}
	fraction, exponent := math.Frexp(v)
	whole, exponent := int64(math.Ldexp(fraction, 53)), exponent-53
	for whole&1 == 0 {
		whole, exponent = whole>>1, exponent+1
	}
	b = append(b[:start], '(')
	b = strconv.AppendInt(b, whole, 10)
	b = append(b, "*1.0"...)
	op := byte('*')
	if exponent < 0 {
		op, exponent = '/', -exponent
	}
	for ; exponent > 0; exponent -= 62 {
		b = append(b, op)
		b = strconv.AppendInt(b, 1<<min(exponent, 62), 10)
	}
	return append(b, ')')
}
