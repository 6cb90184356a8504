package settle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// When was a row of the master changed? If the last change came with a batch: when the
// snap made it, which a stamp in the meta table keeps, good as long as the row is still as that batch left it.
// Otherwise: at the first of the entries that state it as it is now, back to where the
// snap stood when it wrote.

// stamp says when a snap made the change that a row shows.
type stamp struct {
	At   int64  `cbor:"1,keyasint"`
	Node string `cbor:"2,keyasint"`
	Sum  []byte `cbor:"3,keyasint"` // of the row
}

func (st *settlement) sum(values []any) []byte {
	if values == nil {
		return []byte{}
	}
	h := sha256.Sum256(wire.AppendRow(nil, values))
	return h[:16]
}

// stampKey names the meta row of a row's stamp.
func (st *settlement) stampKey(t *dialect.Table, key []any) string {
	h := sha256.Sum256(wire.AppendRow([]byte(st.s.node.Name(t).String()+"\x00"), key))
	return "stamp:" + hex.EncodeToString(h[:16])
}

// changedAt returns when the master's row was changed, and by whom.
func (st *settlement) changedAt(a *arrived, o *outcome) (int64, string, error) {
	key, sum := st.stampKey(o.t, o.state.key), st.sum(o.state.values)
	s, ok := st.stamps[key]
	if !ok {
		var err error
		if s, ok, err = store.Value[stamp](st.ctx, st.s.node, st.c, key); err != nil {
			return 0, "", err
		}
	}
	if ok && string(s.Sum) == string(sum) {
		return s.At, s.Node, nil
	}
	at, err := st.s.history.find(st, a.batch.Seen, st.s.node.Name(o.t), o.state.key, string(sum))
	return at, st.s.node.ID, err
}

// stamp stores the stamps of the settlement.
func (st *settlement) stamp() error {
	const atOnce = 200
	var args []any
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		_, err := st.c.ExecContext(st.ctx, "REPLACE INTO "+st.s.node.Engine.Own("meta")+" (k, v) VALUES "+strings.TrimSuffix(strings.Repeat("(?, ?), ", len(args)/2), ", "), args...)
		args = args[:0]
		if err != nil {
			return fmt.Errorf("node %s: stamp rows: %w", st.s.node.ID, err)
		}
		return nil
	}
	if st.s.stamped += len(st.stamps); st.s.stamped > st.s.cfg.MaxStamps/10 {
		if err := st.prune(); err != nil {
			return err
		}
		st.s.stamped = 0
	}
	for key, s := range st.stamps {
		v, err := wire.Marshal(&s)
		if err != nil {
			return err
		}
		if args = append(args, key, v); len(args) == 2*atOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// prune forgets the oldest stamps if there are too many.
func (st *settlement) prune() error {
	meta := st.s.node.Engine.Own("meta")
	rows, err := st.c.QueryContext(st.ctx, "SELECT k, v FROM "+meta+" WHERE k >= 'stamp:' AND k < 'stamp;'")
	if err != nil {
		return fmt.Errorf("node %s: read stamps: %w", st.s.node.ID, err)
	}
	defer rows.Close()
	type aged struct {
		key string
		at  int64
	}
	var list []aged
	for rows.Next() {
		var key string
		var v []byte
		if err := rows.Scan(&key, &v); err != nil {
			return fmt.Errorf("node %s: read stamps: %w", st.s.node.ID, err)
		}
		s, err := wire.Decode[stamp](v)
		if err != nil {
			return err
		}
		list = append(list, aged{key, s.At})
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(list) <= st.s.cfg.MaxStamps {
		return err
	}
	slices.SortFunc(list, func(a, b aged) int { return cmp.Compare(a.at, b.at) })
	for part := range slices.Chunk(list[:len(list)-st.s.cfg.MaxStamps/2], 200) {
		args := make([]any, len(part))
		for i, a := range part {
			args[i] = a.key
		}
		if _, err := st.c.ExecContext(st.ctx, "DELETE FROM "+meta+" WHERE k IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...); err != nil {
			return fmt.Errorf("node %s: forget stamps: %w", st.s.node.ID, err)
		}
	}
	return nil
}

// history remembers, for a stretch of the journal, since when each row has been as it is at the stretch's end.
type history struct {
	from, to journal.LSN
	rows     map[string]sinceRow
}

type sinceRow struct {
	sum string
	at  int64
}

// maxHistory limits how many rows are remembered; beyond it the stretch starts over.
const maxHistory = 500_000

// find returns since when the row has been as it is, as far as the journal after entry seen tells.
func (h *history) find(st *settlement, seen journal.LSN, t journal.TableName, key []any, sum string) (int64, error) {
	first, last, err := st.s.node.Journal.Bounds(st.ctx)
	if err != nil {
		return 0, err
	}
	seen = max(seen, first.LSN)
	if h.rows == nil || seen < h.from || len(h.rows) > maxHistory {
		*h = history{from: seen, to: seen, rows: make(map[string]sinceRow)}
	}
	for h.to < last.LSN {
		parts, err := st.s.node.Journal.Read(st.ctx, h.to, journal.LastPart, journal.ReadBytes)
		if err != nil {
			return 0, err
		}
		if len(parts) == 0 {
			break
		}
		for i := range parts {
			if err := h.learn(st, &parts[i]); err != nil {
				return 0, err
			}
		}
		h.to = parts[len(parts)-1].LSN
	}
	if r, ok := h.rows[string(wire.AppendRow([]byte(t.String()+"\x00"), key))]; ok && r.sum == sum {
		return r.at, nil
	}
	return time.Now().UnixNano(), nil // in no entry yet
}

func (h *history) learn(st *settlement, p *journal.Part) error {
	if p.Records < 0 {
		return nil
	}
	b, err := journal.Decode(p)
	if err != nil {
		return err
	}
	for _, c := range b.Changes {
		prefix := []byte(journal.TableName{Database: c.Database, Table: c.Table}.String() + "\x00")
		err := c.Each(func(r dialect.Row) error {
			id, sum := string(wire.AppendRow(prefix[:len(prefix):len(prefix)], r.Key)), string(st.sum(r.Values))
			if was, ok := h.rows[id]; !ok || was.sum != sum {
				h.rows[id] = sinceRow{sum: sum, at: p.At}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
