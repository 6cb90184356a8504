package console

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// ImportOptions configure an import.
type ImportOptions struct {
	// MaxStatement limits the bytes of one statement, which must fit in memory. Default 64 MiB.
	MaxStatement int
	// MaxBytes limits the bytes of the file, unpacked. Default: none.
	MaxBytes int64
	// Progress, if set, is called while the import runs, at most 10 times a second and at the end.
	Progress func(Progress)
}

// Limits of the transactions in which an import writes rows.
const (
	batchStatements = 500
	batchBytes      = 1 << 20
	maxStatement    = 64 << 20
)

// Import runs the statements of a .sql file, plain or gzip, through the cluster, so that they are
// replicated: one made by Export, sqlite3's .dump, mariadb-dump or mysqldump. It must run on
// the master. Schema statements run one by one, rows in transactions of moderate size, so a file that fails
// half-way leaves what came before; the error says at which line. Memory stays bounded.
func Import(ctx context.Context, c *ddb.Cluster, r io.Reader, opts ImportOptions) error {
	_, err := runImport(ctx, c, r, opts)
	return err
}

func runImport(ctx context.Context, c *ddb.Cluster, r io.Reader, opts ImportOptions) (p Progress, err error) {
	if c.Role() != ddb.Master {
		return p, fmt.Errorf("console: import: %w: node %s is a %s; import on the master", ddb.ErrNotMaster, c.ID(), c.Role())
	}
	setDefault(&opts.MaxStatement, maxStatement)
	in, err := unpack(r)
	if err != nil {
		return p, fmt.Errorf("console: import: %w", err)
	}
	if opts.MaxBytes > 0 {
		in = &cappedReader{in, opts.MaxBytes}
	}
	im := &importer{c: c, class: sqlclass.SQLite, meter: meter{report: opts.Progress}}
	if c.Dialect() == sqlclass.MySQL.String() {
		im.class = sqlclass.MySQL
	}
	im.file = newStatementReader(im.class, in, opts.MaxStatement)
	if im.conn, err = c.Conn(ctx); err != nil {
		return p, fmt.Errorf("console: import: %w", err)
	}
	err = im.run(ctx)
	if im.tx != nil {
		err = errors.Join(err, im.tx.Rollback())
	}
	err = errors.Join(err, im.conn.Close())
	if err != nil {
		return im.Progress, fmt.Errorf("console: import: %w", err)
	}
	im.tell(true)
	return im.Progress, nil
}

// unpack recognises gzip by its first bytes.
func unpack(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if head, err := b.Peek(2); err == nil && head[0] == 0x1f && head[1] == 0x8b {
		return gzip.NewReader(b)
	}
	return b, nil
}

// cappedReader fails, rather than ends, where a file is too long.
type cappedReader struct {
	r    io.Reader
	left int64
}

func (l *cappedReader) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the file is longer than an import may be")
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// importer runs a file's statements on one session.
type importer struct {
	meter
	c     *ddb.Cluster
	class sqlclass.Dialect
	file  *statementReader
	conn  *sql.Conn

	tx    *sql.Tx // the open batch of rows
	count int     // statements in it
	bytes int
	set   bool // the file has changed the session's settings
}

func (im *importer) run(ctx context.Context) error {
	for {
		st, err := im.file.next()
		if err == io.EOF {
			return im.flush()
		}
		if err == nil {
			err = im.one(ctx, st)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", im.file.line, err)
		}
		im.Bytes = im.file.read
		im.Statements++
		im.tell(false)
	}
}

// noise are statements that only matter to a server with other clients or other table types.
var noise = regexp.MustCompile(`(?is)^(?:/\*!\d+\s*)?(?:LOCK\s+TABLES|UNLOCK\s+TABLES|ALTER\s+TABLE\s.+\s(?:DISABLE|ENABLE)\s+KEYS|SET\s+(?:SESSION\s+)?AUTOCOMMIT\s*=)`)

// sequence recognises what a dump says of AUTOINCREMENT.
var (
	sequence      = regexp.MustCompile(`(?i)^(?:DELETE\s+FROM|INSERT\s+INTO)\s+"?sqlite_sequence"?`)
	sequenceValue = regexp.MustCompile(`(?i)VALUES\s*\(\s*'((?:[^']|'')*)'\s*,\s*(\d+)\s*\)`)
)

func (im *importer) one(ctx context.Context, st sqlclass.Statement) error {
	head := st.SQL[:min(len(st.SQL), 400)]
	switch {
	case noise.MatchString(head):
		return nil
	case im.class == sqlclass.SQLite && sequence.MatchString(head):
		return im.sequence(ctx, st.SQL)
	}
	switch st.Kind {
	case sqlclass.TxControl:
		return nil // batches take the place of the file's own transactions
	case sqlclass.Write:
		return im.write(ctx, st.SQL)
	}
	if err := im.flush(); err != nil {
		return err
	}
	switch st.Kind {
	case sqlclass.Read:
		rows, err := im.conn.QueryContext(ctx, st.SQL)
		if err != nil {
			return err
		}
		for rows.Next() {
		}
		return errors.Join(rows.Err(), rows.Close())
	case sqlclass.Session:
		im.set = true
	case sqlclass.Schema:
		var err error
		if ctx, err = im.surround(ctx); err != nil {
			return err
		}
	}
	_, err := im.conn.ExecContext(ctx, st.SQL)
	return err
}

// write runs a statement in the open batch.
func (im *importer) write(ctx context.Context, text string) (err error) {
	if im.tx == nil {
		if im.tx, err = im.conn.BeginTx(ctx, nil); err != nil {
			im.tx = nil
			return err
		}
	}
	res, err := im.tx.ExecContext(ctx, text)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil {
		im.Rows += n
	}
	im.count++
	im.bytes += len(text)
	if im.count >= batchStatements || im.bytes >= batchBytes {
		return im.flush()
	}
	return nil
}

// flush commits the open batch.
func (im *importer) flush() error {
	if im.tx == nil {
		return nil
	}
	tx := im.tx
	im.tx, im.count, im.bytes = nil, 0, 0
	return tx.Commit()
}

// surround hands the session's settings, which the file has made with USE and SET, to schema
// statements: they run on a connection of ddb's own.
func (im *importer) surround(ctx context.Context) (context.Context, error) {
	if im.class != sqlclass.MySQL {
		return ctx, nil
	}
	var s dialect.Statement
	if im.set {
		var database sql.NullString
		err := im.conn.QueryRowContext(ctx, "SELECT DATABASE(), @@sql_mode, @@character_set_client, @@collation_connection").
			Scan(&database, &s.SQLMode, &s.Charset, &s.Collation)
		if err != nil {
			return nil, err
		}
		s.Database = database.String
	}
	return ddb.WithSurroundings(ctx, s), nil
}

// sequence raises the next key of an AUTOINCREMENT table. The table of these keys is not
// emptied, as .dump would have it: other tables' keys are in it.
func (im *importer) sequence(ctx context.Context, text string) error {
	m := sequenceValue.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	seq, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return err
	}
	name, _ := appendLiteral(nil, strings.ReplaceAll(m[1], "''", "'"))
	if err := im.write(ctx, fmt.Sprintf("UPDATE sqlite_sequence SET seq = max(seq, %d) WHERE name = %s", seq, name)); err != nil {
		return err
	}
	return im.write(ctx, fmt.Sprintf("INSERT INTO sqlite_sequence SELECT %s, %d WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = %s)", name, seq, name))
}

// importFile runs the body, a .sql file.
func (h *Handler) importFile(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer h.untilClosing(ctx, cancel)()
	body := &patientReader{r: http.MaxBytesReader(w, r.Body, h.opts.MaxImport), control: control, patience: h.patience.piece}
	p, err := runImport(ctx, h.c, body, ImportOptions{MaxBytes: h.opts.MaxImport})
	_ = control.SetWriteDeadline(time.Now().Add(h.patience.piece))
	if err != nil {
		h.failWith(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]int64{"statements": p.Statements, "rows": p.Rows, "bytes": p.Bytes})
}

// patientReader gives the client a while for each piece.
type patientReader struct {
	r        io.Reader
	control  *http.ResponseController
	patience time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.patience))
	return p.r.Read(b)
}
