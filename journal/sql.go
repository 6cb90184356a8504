package journal

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
)

// partBits is how many low bits of a journal row's number hold the part's index.
const partBits = 20

// MaxLSN is the highest LSN that the journal has a number for.
const MaxLSN = LSN(math.MaxInt64 >> partBits)

// MaxBatch is the highest that a batch can have in the queue, less than can be added to it in a lifetime.
const MaxBatch = math.MaxInt64 >> 1

// LastPart is a part index behind the last part of any entry.
const LastPart = 1<<partBits - 1

// Sequence returns the number of a part's row in the journal's table.
func Sequence(lsn LSN, index int) int64 { return int64(lsn)<<partBits + int64(min(index, LastPart)) }

// maxPiece is how much of a part is stored in one row where the database takes no row of any size. What does not
// fit follows in rows of the table journal_rest: a part may be larger than any value that the database takes.
const maxPiece = 8 << 20

// SQL is the default Journal: a table in the node's own database.
type SQL struct {
	db     dialect.Querier // the pool
	tx     func(ctx context.Context, f func(q dialect.Querier) error) error
	insert string
	read   string
	sizes  string
	ends   string
	trim   string
	size   string
	before string
	last   string
	clear  string
	piece  int // bytes of a part in one row

	more     string
	rest     string
	trimRest string
	wipe     string
}

// NewSQL returns the journal in the engine's tables; tx runs a function in one durable transaction.
func NewSQL(db dialect.Querier, e dialect.Engine, tx func(context.Context, func(dialect.Querier) error) error) *SQL {
	table, rest := e.Own("journal"), e.Own("journal_rest")
	piece := MostValue(e)
	if piece < math.MaxInt {
		piece = min(piece/2, maxPiece) // in the text of a statement it may take twice the room
	}
	const columns = "seq, epoch, at, final, records, bytes, hash, payload"
	return &SQL{
		db:     db,
		tx:     tx,
		clear:  "DELETE FROM " + table,
		piece:  piece,
		insert: "INSERT INTO " + table + " (" + columns + ") VALUES (?,?,?,?,?,?,?,?)",
		read:   "SELECT " + columns + " FROM " + table + " WHERE seq > ? ORDER BY seq LIMIT ?",
		sizes:  "SELECT bytes FROM " + table + " WHERE seq > ? ORDER BY seq LIMIT 1024",
		ends:   "SELECT seq, epoch, hash FROM " + table + " WHERE final = 1 ORDER BY seq ASC LIMIT 1",
		last:   "SELECT seq, epoch, hash FROM " + table + " ORDER BY seq DESC LIMIT 1",
		trim:   "DELETE FROM " + table + " WHERE seq < ? AND seq < (SELECT m FROM (SELECT MAX(seq) AS m FROM " + table + " WHERE final = 1) AS x) >> 20 << 20",
		size:   "SELECT COALESCE(SUM(final),0), COALESCE(SUM(bytes),0), COALESCE(MIN(at),0) FROM " + table + " WHERE seq >= ?",
		before: "SELECT COALESCE(MAX(seq),0) FROM " + table + " WHERE at < ? AND final = 1",

		more:     "INSERT INTO " + rest + " (seq, n, payload) VALUES (?,?,?)",
		rest:     "SELECT payload FROM " + rest + " WHERE seq = ? ORDER BY n",
		trimRest: "DELETE FROM " + rest + " WHERE seq < (SELECT MIN(seq) FROM " + table + ")",
		wipe:     "DELETE FROM " + rest,
	}
}

// AppendIn stores a part inside the caller's transaction.
func (j *SQL) AppendIn(ctx context.Context, q dialect.Querier, p Part) error {
	if p.Index >= LastPart {
		return fmt.Errorf("entry %d has more than %d parts", p.LSN, LastPart)
	}
	if p.Anchor() {
		for _, statement := range []string{j.clear, j.wipe} {
			if _, err := q.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("begin the journal anew at entry %d: %w", p.LSN, err)
			}
		}
	}
	final := 0
	if p.Final {
		final = 1
	}
	piece, rest := p.Payload, []byte(nil)
	if len(piece) > j.piece {
		piece, rest = piece[:j.piece], piece[j.piece:]
	}
	_, err := q.ExecContext(ctx, j.insert, Sequence(p.LSN, p.Index), int64(p.Epoch), p.At, final, p.Records, len(p.Payload), p.Hash[:], piece)
	for n := 1; err == nil && len(rest) > 0; n++ {
		piece = rest[:min(j.piece, len(rest))]
		rest = rest[len(piece):]
		_, err = q.ExecContext(ctx, j.more, Sequence(p.LSN, p.Index), n, piece)
	}
	if err != nil {
		return fmt.Errorf("append entry %d to the journal: %w", p.LSN, err)
	}
	return nil
}

func (j *SQL) Append(ctx context.Context, parts ...Part) error {
	return j.tx(ctx, func(q dialect.Querier) error {
		for _, p := range parts {
			if err := j.AppendIn(ctx, q, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (j *SQL) Read(ctx context.Context, lsn LSN, index int, limit int) ([]Part, error) {
	n, err := j.fit(ctx, Sequence(lsn, index), limit)
	if err != nil || n == 0 {
		return nil, err
	}
	rows, err := j.db.QueryContext(ctx, j.read, Sequence(lsn, index), n)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	var parts []Part
	var pieces []int // parts of which more is to be read, and the bytes that they have then
	for rows.Next() {
		var (
			p              Part
			seq, epoch     int64
			final, n, blen int64
			hash           []byte
		)
		if err := rows.Scan(&seq, &epoch, &p.At, &final, &n, &blen, &hash, &p.Payload); err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		p.LSN, p.Index = LSN(seq>>partBits), int(seq&(1<<partBits-1))
		p.Epoch, p.Final, p.Records = uint64(epoch), final == 1, int(n)
		copy(p.Hash[:], hash)
		if len(p.Payload) < int(blen) {
			pieces = append(pieces, len(parts), int(blen))
		}
		parts = append(parts, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if len(parts) > 0 && (parts[0].LSN > lsn+1 || parts[0].LSN == lsn+1 && parts[0].Index != 0) {
		return nil, fmt.Errorf("%w: entry %d is gone, the first is %d", fault.ErrTrimmed, lsn+1, parts[0].LSN)
	}
	for i := 0; i < len(pieces); i += 2 {
		if err := j.complete(ctx, &parts[pieces[i]], pieces[i+1]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// complete reads what of a part is stored apart.
func (j *SQL) complete(ctx context.Context, p *Part, bytes int) error {
	rows, err := j.db.QueryContext(ctx, j.rest, Sequence(p.LSN, p.Index))
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	payload := append(make([]byte, 0, bytes), p.Payload...)
	for rows.Next() {
		var piece []byte
		if err := rows.Scan(&piece); err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		payload = append(payload, piece...)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if len(payload) != bytes {
		return fmt.Errorf("%w: entry %d is going while it is read", fault.ErrTrimmed, p.LSN)
	}
	p.Payload = payload
	return nil
}

// fit returns how many parts after seq fit in limit bytes, at least one if there is any. A server
// sends every row that was asked for, wanted or not, so they are counted first.
func (j *SQL) fit(ctx context.Context, seq int64, limit int) (n int, err error) {
	rows, err := j.db.QueryContext(ctx, j.sizes, seq)
	if err != nil {
		return 0, fmt.Errorf("read the journal: %w", err)
	}
	defer rows.Close()
	for size := 0; rows.Next(); n++ {
		var bytes int
		if err := rows.Scan(&bytes); err != nil {
			return 0, fmt.Errorf("read the journal: %w", err)
		}
		if size += bytes + PartOverhead; n > 0 && size > limit {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("read the journal: %w", err)
	}
	return n, nil
}

func (j *SQL) Bounds(ctx context.Context) (first, last Position, err error) {
	if first, err = j.end(ctx, j.ends); err != nil || first.LSN == 0 {
		return first, first, err
	}
	last, err = j.end(ctx, j.last)
	return first, last, err
}

func (j *SQL) end(ctx context.Context, query string) (Position, error) {
	rows, err := j.db.QueryContext(ctx, query)
	if err != nil {
		return Position{}, fmt.Errorf("read the end of the journal: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return Position{}, rows.Err()
	}
	var seq, epoch int64
	var hash []byte
	if err := rows.Scan(&seq, &epoch, &hash); err != nil {
		return Position{}, fmt.Errorf("read the end of the journal: %w", err)
	}
	p := Position{Epoch: uint64(epoch), LSN: LSN(seq >> partBits)}
	copy(p.Hash[:], hash)
	return p, nil
}

func (j *SQL) Trim(ctx context.Context, through LSN) error {
	return j.tx(ctx, func(q dialect.Querier) error {
		_, err := q.ExecContext(ctx, j.trim, Sequence(through+1, 0))
		if err == nil {
			_, err = q.ExecContext(ctx, j.trimRest)
		}
		if err != nil {
			return fmt.Errorf("trim the journal: %w", err)
		}
		return nil
	})
}

func (j *SQL) Size(ctx context.Context, after LSN) (entries, bytes int64, oldest time.Time, err error) {
	var at int64
	err = dialect.ScanOne(ctx, j.db, []any{&entries, &bytes, &at}, j.size, Sequence(after+1, 0))
	if at != 0 {
		oldest = time.Unix(0, at)
	}
	return entries, bytes, oldest, err
}

func (j *SQL) Before(ctx context.Context, at time.Time) (LSN, error) {
	var seq int64
	err := dialect.ScanOne(ctx, j.db, []any{&seq}, j.before, at.UnixNano())
	return LSN(seq >> partBits), err
}

// MostValue is how large a value the engine's database stores, as far as the engine tells.
func MostValue(e dialect.Engine) int {
	if e, ok := e.(dialect.ValueBound); ok {
		return e.MostBytes()
	}
	return math.MaxInt
}
