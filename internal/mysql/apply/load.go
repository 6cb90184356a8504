package apply

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	driver "github.com/go-sql-driver/mysql"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

// errNoLoad says that this server, or what stands before it, takes no rows by LOAD DATA
// LOCAL. Nothing has happened then, in the transaction either.
var errNoLoad = errors.New("LOAD DATA LOCAL is refused")

// replace writes rows that take the place of those they clash with. LOAD DATA LOCAL costs
// the server about two thirds of what the same rows cost as statements that it has to
// parse. It goes on at a clash, as REPLACE INTO does, and at nothing else.
func (w *writer) replace(rows []dialect.Row) error {
	if len(rows) > 0 && !w.rows.NoLoad.Load() && w.loadable(rows) {
		err := w.load(rows)
		if !errors.Is(err, errNoLoad) {
			return err
		}
		w.rows.NoLoad.Store(true)
	}
	return w.insert(rows, "REPLACE INTO ", "")
}

// loadable reports whether no row is large: the server enlarges its buffer for a field in small steps.
func (w *writer) loadable(rows []dialect.Row) bool {
	for _, r := range rows {
		width := 0
		for _, v := range r.Values {
			width += codec.Size(v)
		}
		if width > w.rows.server.StatementSize/2 {
			return false
		}
	}
	return true
}

// loads numbers the streams: the driver keeps them by name, for all connections of the process.
var loads atomic.Uint64

// load streams rows to LOAD DATA LOCAL, so that the server stores the first ones while
// the last ones are yet to be encoded.
func (w *writer) load(rows []dialect.Row) error {
	s := &loadStream{columns: w.t.StoredColumns, rows: rows}
	name := "ddb" + strconv.FormatUint(loads.Add(1), 10)
	asked := false
	driver.RegisterReaderHandler(name, func() io.Reader { asked = true; return s })
	defer driver.DeregisterReaderHandler(name)
	_, err := w.q.ExecContext(w.ctx, loadStatement(w.t, name))
	if err == nil && !asked {
		err = errors.New("the server did not ask for the rows")
	}
	if err == nil {
		return nil
	}
	if !asked && refusesLoad(err) {
		return fmt.Errorf("%w: %w", errNoLoad, err)
	}
	return w.fail(err, nil)
}

// refusesLoad judges an error of a LOAD DATA LOCAL that asked for no rows. One that does not
// come from the server is the driver's, which may be another one than the one that rows are
// registered with, unless the connection is lost.
func refusesLoad(err error) bool {
	switch lang.Errno(err) {
	case erUnknownCommand, erNotAllowed, erLocalFilesMySQL, erLoadMaria:
		return true
	case 0:
		return !errors.Is(err, sqldriver.ErrBadConn) && !errors.Is(err, driver.ErrInvalidConn) &&
			!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	return false
}

// loadStatement reads the named stream. All bytes are taken as they are (CHARACTER SET
// binary), as by the literals of codec.Column.AppendLiteral.
func loadStatement(t *catalog.Table, stream string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "LOAD DATA LOCAL INFILE 'Reader::%s' REPLACE INTO TABLE %s CHARACTER SET binary"+
		` FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (`, stream, t.SQLName())
	var set []string
	for i, c := range t.StoredColumns {
		if i > 0 {
			b.WriteByte(',')
		}
		variable := "@ddb_l" + strconv.Itoa(i)
		if expr := loadExpression(c, variable); expr != "" {
			set = append(set, lang.Ident(c.Name)+"="+expr)
			b.WriteString(variable)
		} else {
			b.WriteString(lang.Ident(c.Name))
		}
	}
	b.WriteByte(')')
	if len(set) > 0 {
		b.WriteString(" SET " + strings.Join(set, ","))
	}
	return b.String()
}

// loadExpression is the expression that makes the column's value from the text in the variable, ""
// where the column takes the text itself.
func loadExpression(c codec.Column, variable string) string {
	switch {
	case c.Kind == codec.KindBits, strings.HasPrefix(c.Type, "year"): // text would be a member's name, bytes, or a year of two digits
		return "CAST(" + variable + " AS UNSIGNED)"
	case c.Kind == codec.KindJSON,
		c.Kind == codec.KindPlain && !strings.HasPrefix(c.Type, "date") && !strings.HasPrefix(c.Type, "time"):
		return "CONVERT(" + variable + " USING utf8mb4)"
	case c.Auto:
		// Any SET makes the server forget that the file gave a value, and then it numbers a 0 itself.
		return variable
	}
	return ""
}

const loadBuffer = 32 << 10 // bytes of rows that are encoded at once

// loadStream is rows in the text format of LOAD DATA.
type loadStream struct {
	columns []codec.Column
	rows    []dialect.Row // yet to be encoded
	buf     []byte        // encoded, of which those before at are read
	at      int
}

// Read implements io.Reader.
func (s *loadStream) Read(p []byte) (int, error) {
	if s.at == len(s.buf) {
		if len(s.rows) == 0 {
			return 0, io.EOF
		}
		s.buf, s.at = s.buf[:0], 0
		for len(s.rows) > 0 && len(s.buf) < loadBuffer {
			s.buf = s.appendLine(s.buf, s.rows[0].Values)
			s.rows = s.rows[1:]
		}
	}
	n := copy(p, s.buf[s.at:])
	s.at += n
	return n, nil
}

func (s *loadStream) appendLine(b []byte, values []any) []byte {
	for i := range s.columns {
		if i > 0 {
			b = append(b, '\t')
		}
		b = appendField(b, values[i])
	}
	return append(b, '\n')
}

// appendField appends v as a field of LOAD DATA.
func appendField(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, `\N`...)
	case bool:
		if v {
			return append(b, '1')
		}
		return append(b, '0')
	case int64:
		return strconv.AppendInt(b, v, 10)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	case string:
		return appendFieldText(b, v)
	case []byte:
		if v == nil {
			return append(b, `\N`...)
		}
		return appendFieldText(b, v)
	}
	return appendFieldText(b, fmt.Sprint(v))
}

func appendFieldText[T string | []byte](b []byte, v T) []byte {
	for start := 0; ; {
		i := start
		for i < len(v) && v[i] != '\\' && v[i] != '\t' && v[i] != '\n' {
			i++
		}
		b = append(b, v[start:i]...)
		if i == len(v) {
			return b
		}
		switch v[i] {
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, `\\`...)
		}
		start = i + 1
	}
}

// Numbers of server errors that refuse LOAD DATA LOCAL as such: the server's
// local_infile is off, or a proxy does not know the command.
const (
	erUnknownCommand  = 1047
	erNotAllowed      = 1148
	erLocalFilesMySQL = 3948
	erLoadMaria       = 4166
)
