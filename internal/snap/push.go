package snap

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/internal/watch"
)

// Limits of what a snap has on its way.
const (
	pushBatches = 2000    // batches in one message
	pushBytes   = 1 << 20 // bytes in one message, but at least one batch
	flightBytes = 4 << 20 // bytes sent but not yet judged
)

// flight counts the bytes that are sent but not yet judged.
type flight struct {
	mu    sync.Mutex
	sent  []sentBatches
	bytes int
	went  chan struct{} // capacity 1
}

type sentBatches struct {
	through uint64
	bytes   int
}

func (f *flight) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent, f.bytes = nil, 0
}

func (f *flight) add(ctx context.Context, through uint64, bytes int) error {
	for {
		f.mu.Lock()
		if f.bytes == 0 || f.bytes+bytes <= flightBytes {
			f.sent = append(f.sent, sentBatches{through, bytes})
			f.bytes += bytes
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		select {
		case <-f.went:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *flight) judged(through uint64) {
	f.mu.Lock()
	for len(f.sent) > 0 && f.sent[0].through <= through {
		f.bytes -= f.sent[0].bytes
		f.sent = f.sent[1:]
	}
	f.mu.Unlock()
	watch.Signal(f.went)
}

// Push sends batches in order for as long as the connection lasts.
func (s *Snap) Push(ctx context.Context, send func(kind uint8, msg any) error) error {
	s.flight.reset()
	s.mu.Lock()
	wait, loaded, sent := s.snapshot, s.loaded, s.welcome.Number
	s.mu.Unlock()
	if wait {
		select {
		case <-loaded:
		case <-ctx.Done():
			return ctx.Err()
		}
	} else if err := s.remind(ctx, send, sent); err != nil {
		return err
	}
	var last int64
	for {
		msg, size, err := s.next(ctx, sent, &last)
		if err != nil {
			return err
		}
		if len(msg.Bodies) == 0 {
			select {
			case <-s.more:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		sent = msg.First + uint64(len(msg.Bodies)) - 1
		if err := s.flight.add(ctx, sent, size); err != nil {
			return err
		}
		msg.Now = time.Now().UnixNano()
		if err := send(link.MsgBatch, &msg); err != nil {
			return err
		}
	}
}

// remind asks for an entry that lists the batches that the master has but this node still
// keeps: the verdict was cut off.
func (s *Snap) remind(ctx context.Context, send func(kind uint8, msg any) error, received uint64) error {
	var n int64
	if err := dialect.ScanOne(ctx, s.node.DB, []any{&n}, "SELECT COUNT(*) FROM "+s.queue.table+" WHERE number <= ?", int64(received)); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	return send(link.MsgBatch, &link.Batches{First: received, Now: time.Now().UnixNano()})
}

// next returns the batches that follow number sent, numbering them if they are new. Where there is
// one writer, numbers rise with ids and have no index: the next ones are found from the id of the last, which last keeps.
func (s *Snap) next(ctx context.Context, sent uint64, last *int64) (link.Batches, int, error) {
	msg := link.Batches{First: sent + 1}
	size := 0
	order := "number"
	if s.queue.byID {
		order = "id"
	}
	for range 2 {
		rows, err := s.node.DB.QueryContext(ctx, "SELECT id, number, payload FROM "+s.queue.table+" WHERE id > ? AND number > ? ORDER BY "+order+" LIMIT ?", *last, int64(sent), pushBatches)
		if err != nil {
			return msg, 0, fmt.Errorf("node %s: read batches: %w", s.node.ID, err)
		}
		err = func() error {
			defer rows.Close()
			for rows.Next() {
				var id, number int64
				var payload []byte
				if err := rows.Scan(&id, &number, &payload); err != nil {
					return err
				}
				if want := msg.First + uint64(len(msg.Bodies)); uint64(number) != want {
					return fmt.Errorf("%w: batch %d follows where %d should", fault.ErrDamaged, number, want)
				}
				if size += len(payload); len(msg.Bodies) > 0 && size > pushBytes {
					return nil
				}
				msg.Bodies = append(msg.Bodies, payload)
				if s.queue.byID {
					*last = id
				}
			}
			return rows.Err()
		}()
		if err != nil || len(msg.Bodies) > 0 {
			return msg, size, err
		}
		if err := s.assign(ctx); err != nil {
			return msg, 0, err
		}
	}
	return msg, size, nil
}

// assign numbers the batches that have no number yet, in the order in which they were made (N2). Those made
// later get theirs at once: the master has told how far it is, and nobody else numbers batches of this snap.
func (s *Snap) assign(ctx context.Context) (err error) {
	if s.queue.numbers() {
		return nil
	}
	if !s.queue.byID {
		var waiting int64
		if err := dialect.ScanOne(ctx, s.node.DB, []any{&waiting}, "SELECT COUNT(*) FROM (SELECT id FROM "+s.queue.table+" WHERE number IS NULL LIMIT 1) AS x"); err != nil || waiting == 0 {
			return err
		}
	}
	stay, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer func() { stay.Leave(err == nil) }()
	var last uint64
	all := false
	err = s.node.WithTx(ctx, dialect.Replay, func(c *sql.Conn) error {
		if err := stay.Opened(ctx, c); err != nil {
			return err
		}
		runs, err := s.unnumbered(ctx, c)
		if err != nil {
			return err
		}
		last = s.queue.highest()
		waiting := 0
		for _, r := range runs {
			if _, err := c.ExecContext(ctx, "UPDATE "+s.queue.table+" SET number = id + ? WHERE id BETWEEN ? AND ?", int64(last)+1-r[0], r[0], r[1]); err != nil {
				return fmt.Errorf("node %s: number batches: %w", s.node.ID, err)
			}
			last += uint64(r[1] - r[0] + 1)
			waiting += int(r[1] - r[0] + 1)
		}
		all = waiting < numberedAtOnce
		return s.node.SetValue(ctx, c, store.MetaNumber, last)
	})
	if err != nil {
		s.queue.doubt() // a commit that failed for its caller may have given the numbers all the same
		return err
	}
	s.queue.numbered(last, all)
	return nil
}

// numberedAtOnce is how many batches are numbered in one transaction.
const numberedAtOnce = 10 * pushBatches

// unnumbered returns the ids of batches without a number, as runs of ids that follow each other.
func (s *Snap) unnumbered(ctx context.Context, q dialect.Querier) (runs [][2]int64, err error) {
	var rows *sql.Rows
	if rows, err = q.QueryContext(ctx, "SELECT id FROM "+s.queue.table+" WHERE number IS NULL ORDER BY id LIMIT ?", numberedAtOnce); err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		if n := len(runs); n > 0 && runs[n-1][1] == id-1 {
			runs[n-1][1] = id
		} else {
			runs = append(runs, [2]int64{id, id})
		}
	}
	return runs, rows.Err()
}

// Judged takes the master's word on batches. They stay until the entry that includes them is applied (N3).
func (s *Snap) Judged(v link.Verdict) error {
	s.flight.judged(v.Through)
	for _, number := range v.Refused {
		s.node.Log.Warn("the master has refused a batch; its rows are in the conflicts table", "batch", number)
	}
	return nil
}
