package settle

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/fleet"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
)

// Limits of what a master takes from snaps at once.
const (
	maxJobs     = 64               // messages that wait to be settled, of all snaps
	settleBytes = 8 << 20          // bytes of batches that share a transaction
	maxPause    = 15 * time.Second // between two attempts
)

// Admit tells a snap what the master has of its batches.
func (s *Settler) Admit(ctx context.Context, turn *sequence.Turn, h link.Hello, w link.Welcome) (link.Welcome, error) {
	queue := link.QueueName(h.ID, h.Queue)
	var err error
	if w.Number, err = s.node.Received(ctx, turn.Conn, queue); err != nil {
		return w, err
	}
	if h.Number <= w.Number {
		w.Last, err = s.last(ctx, turn.Conn, queue, w.Number)
		return w, err
	}
	// A master before this one had accepted more, in entries that were lost with it: the snap's queue begins behind them.
	s.node.Log.Warn("a snap's batches are lost that another master had accepted", "id", h.ID, "from", w.Number+1, "to", h.Number)
	w.Number = h.Number
	return w, nil
}

// source is a connection over which a snap sends batches.
type source struct {
	conn *fleet.Connection
	// unsettled is why a batch that came over it can be neither settled nor refused; owned by the settler.
	unsettled error
}

// job is a message with batches that waits to be settled.
type job struct {
	from    *source
	msg     link.Batches
	list    []*arrived
	bytes   int
	refused []uint64
}

// arrived is a batch on the master.
type arrived struct {
	job    *job
	snap   string
	number uint64
	batch  batch.Batch
	at     int64  // when it was made, by the master's clock
	sum    []byte // batch.Sum

	// What the last attempt to settle it has found:
	refused bool
	reason  string
}

// From returns what hands the messages of a snap's connection to the settler.
func (s *Settler) From(l *fleet.Connection) func(ctx context.Context, payload []byte) error {
	from := &source{conn: l}
	return func(ctx context.Context, payload []byte) error { return s.receive(ctx, from, payload) }
}

// receive hands a message with batches to the settler.
func (s *Settler) receive(ctx context.Context, from *source, payload []byte) error {
	msg, err := wire.DecodeChecked[link.Batches](payload)
	if err != nil {
		return err
	}
	id := from.conn.ID()
	j := &job{from: from, msg: msg, bytes: len(payload)}
	now := time.Now().UnixNano()
	for i, body := range msg.Bodies {
		a := &arrived{job: j, snap: id, number: msg.First + uint64(i), sum: batch.Sum(body)}
		if err := wire.DecodeInto(body, &a.batch); err != nil {
			err = fmt.Errorf("batch %d of snap %s: %w", a.number, id, err)
			return errors.Join(err, from.conn.Write(link.MsgRefusal, link.RefusalOf(err)))
		}
		a.at = min(max(corrected(a.batch.MadeAt(), msg.Now, now), a.batch.Heard+1), s.clock(now))
		j.list = append(j.list, a)
	}
	j.msg.Bodies = nil
	alive := time.NewTicker(s.cfg.Heartbeat)
	defer alive.Stop()
	for {
		select {
		case s.jobs <- j:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
			from.conn.KeepsWaiting()
		}
	}
}

// corrected turns a time by the snap's clock into one by the master's, never later than now.
func corrected(at, snapNow, now int64) int64 {
	if off := now - snapNow; off > batch.ClockSkew || off < -batch.ClockSkew {
		at += off
	}
	return min(at, now)
}

// clock returns the time by the master's hybrid clock: later than the entries of the master before it, whose clock may have
// been ahead of this one's, but not by more than batch.ClockSkew ahead of now.
func (s *Settler) clock(now int64) int64 {
	if s.cfg.Heard >= now && s.cfg.Heard-now <= batch.ClockSkew {
		return s.cfg.Heard + 1
	}
	return now
}

// Run works off what snaps have sent, until ctx ends.
func (s *Settler) Run(ctx context.Context) {
	s.began = s.seq.State.Load().Pos.LSN
	defer s.tasks.Wait()
	defer s.release()
	var next *job
	for {
		var jobs []*job
		count, bytes := 0, 0
		add := func(j *job) bool {
			if len(jobs) > 0 && (count+len(j.list) > link.MaxBatches || bytes+j.bytes > settleBytes) {
				next = j
				return false
			}
			jobs, count, bytes = append(jobs, j), count+len(j.list), bytes+j.bytes
			return true
		}
		if next != nil {
			jobs, count, bytes, next = []*job{next}, len(next.list), next.bytes, nil
		} else {
			select {
			case j := <-s.jobs:
				add(j)
			case <-ctx.Done():
				return
			}
		}
		for more := true; more; {
			select {
			case j := <-s.jobs:
				more = add(j)
			default:
				more = false
			}
		}
		if !s.settleJobs(ctx, jobs) {
			return
		}
	}
}

// settleJobs settles until it succeeds; false when ctx is over.
func (s *Settler) settleJobs(ctx context.Context, jobs []*job) bool {
	pause := s.cfg.Heartbeat / 10
	for {
		err := s.work(ctx, jobs)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		s.node.Log.Warn("batches of snaps cannot be settled at present", "error", err)
		if watch.Sleep(ctx, pause) != nil {
			return false
		}
		pause = min(2*pause, maxPause)
	}
	for _, j := range jobs {
		if len(j.list) == 0 {
			continue
		}
		if err := j.from.unsettled; err != nil {
			s.tasks.Go(func() {
				if j.from.conn.Write(link.MsgRefusal, link.RefusalOf(err)) != nil { // the snap ends the connection when it has read this
					j.from.conn.Close(err)
				}
			})
			continue
		}
		v := link.Verdict{Through: j.list[len(j.list)-1].number, Refused: j.refused}
		s.tasks.Go(func() {
			if err := j.from.conn.Write(link.MsgVerdict, &v); err != nil {
				s.node.Log.Debug("a verdict was not delivered", "id", j.from.conn.ID(), "error", err)
			}
		})
	}
	return true
}

// work settles the batches of the jobs.
func (s *Settler) work(ctx context.Context, jobs []*job) error {
	var list []*arrived
	var relist []string
	for _, j := range jobs {
		j.refused = nil
		list = append(list, j.list...)
		if len(j.list) == 0 {
			relist = append(relist, j.from.conn.Queue())
		}
	}
	if len(list) > 0 {
		repeated, err := s.settle(ctx, list)
		if err != nil {
			return err
		}
		s.failing = time.Time{} // not before: a half that could be committed tells nothing of the other
		relist = append(relist, repeated...)
	}
	if len(relist) == 0 {
		return nil
	}
	slices.Sort(relist)
	return s.seq.Do(ctx, func(turn *sequence.Turn) error {
		turn.Relist(relist...)
		return turn.Pass(ctx)
	})
}

// settle runs one transaction that settles the batches, and returns the snaps that have
// sent some again. If the transaction fails at its commit each half is tried by itself.
func (s *Settler) settle(ctx context.Context, list []*arrived) (repeated []string, err error) {
	if s.node.SingleWriter() {
		err = s.seq.Do(ctx, func(turn *sequence.Turn) (err error) {
			repeated, err = s.tx(ctx, turn.Conn, turn, list)
			return err
		})
	} else {
		if s.conn == nil {
			if s.conn, err = s.node.Engine.Conn(ctx, dialect.Batch); err != nil {
				return nil, err
			}
		}
		if repeated, err = s.tx(ctx, s.conn, nil, list); err != nil {
			s.release()
		}
	}
	switch {
	case err == nil:
		for _, a := range list {
			if a.refused {
				a.job.refused = append(a.job.refused, a.number)
			}
		}
		return repeated, nil
	case !s.node.Refusable(err) || s.passing(err):
		return nil, err
	case len(list) == 1 && (list[0].refused || s.forced != nil):
		// Even the refusal cannot be written. The snap keeps the batch; the others go on.
		a := list[0]
		a.job.from.unsettled = fmt.Errorf("%w: batch %d cannot be settled, nor kept as a conflict: %w", fault.ErrUnsettled, a.number, err)
		s.node.Log.Error("a batch of a snap cannot be settled, nor kept as a conflict", "id", a.snap, "batch", a.number, "error", err)
		return nil, nil
	case len(list) == 1:
		s.forced = err
		defer func() { s.forced = nil }()
		return s.settle(ctx, list)
	}
	first, err := s.settle(ctx, list[:len(list)/2])
	if err != nil {
		return nil, err
	}
	second, err := s.settle(ctx, list[len(list)/2:])
	return append(first, second...), err
}

// release gives the settler's connection back.
func (s *Settler) release() {
	if s.conn != nil {
		s.node.Engine.Release(s.conn)
		s.conn = nil
	}
}

// tx settles the batches in one transaction together with their numbers, so that each counts once. With the turn, which
// who has a single writer has, the transaction makes the entry too.
func (s *Settler) tx(ctx context.Context, c *sql.Conn, turn *sequence.Turn, list []*arrived) (repeated []string, err error) {
	var done *sequence.Made
	var covered uint64
	committing, written := false, false
	err = s.node.TxOn(ctx, c, dialect.Batch, func() error {
		covered = s.seq.Written.Load() // before anything is read (S4)
		fresh, again, err := s.fresh(ctx, c, list)
		if err != nil {
			return err
		}
		repeated = again
		if err := s.try(ctx, c, fresh); err != nil {
			return err
		}
		written = true
		through := make(map[string]uint64)
		for _, a := range fresh {
			through[a.job.from.conn.Queue()] = a.number
		}
		if err := errors.Join(s.node.SetReceived(ctx, c, through), s.setLast(ctx, c, fresh)); err != nil {
			return err
		}
		if turn != nil {
			s.seq.Ledger.Raise()
			done, err = turn.Collect(ctx)
			return err
		}
		s.seq.Ledger.Open()
		committing = true
		return nil
	})
	if committing { // and perhaps committed, even after an error
		s.seq.Ledger.Close()
	}
	if err != nil && written {
		return nil, fmt.Errorf("%w: %w", errCommit, err)
	}
	if err != nil {
		return nil, err
	}
	if turn != nil {
		turn.Publish(done, covered)
		return repeated, nil
	}
	s.seq.Written.Add(1)
	s.seq.WakeUp()
	return repeated, nil
}

// fresh leaves out the batches that the master has already.
func (s *Settler) fresh(ctx context.Context, c *sql.Conn, list []*arrived) (fresh []*arrived, repeated []string, err error) {
	have := make(map[string]uint64)
	for _, a := range list {
		a.refused, a.reason = false, ""
		queue := a.job.from.conn.Queue()
		number, ok := have[queue]
		if !ok {
			if number, err = s.node.Received(ctx, c, queue); err != nil {
				return nil, nil, err
			}
			number = max(number, a.job.from.conn.Left())
		}
		switch {
		case a.number <= number:
			if !slices.Contains(repeated, queue) {
				repeated = append(repeated, queue)
			}
		case a.number == number+1:
			number++
			fresh = append(fresh, a)
		case a.job.from.unsettled != nil: // it waits behind one that could not be settled
		default:
			// A connection that was cut has left a hole; the snap sends from there again.
			a.job.from.conn.Close(fmt.Errorf("%w: batch %d of snap %s came after %d", fault.ErrGap, a.number, a.snap, number))
		}
		have[queue] = number
	}
	return fresh, repeated, nil
}
