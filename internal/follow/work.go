package follow

import (
	"context"
	"runtime"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// work applies what waits in the inbox until ctx ends or something cannot be applied (R3).
func (f *Follower) work(ctx context.Context, up *upstream, in *inbox) error {
	defer f.apply.Close() // the end of ctx may have broken its connection
	var ahead decoder     // of the rows of a snapshot
	defer ahead.wait()
	var took time.Duration // by the last time that a few were applied
	var ended time.Time
	for {
		if err := in.wait(ctx); err != nil {
			return err
		}
		if !up.prompt && took > 0 && time.Since(ended) < 2*took {
			// They come one after the other: fewer and larger commits leave the disk and the
			// processors to others. At rest there is no pause.
			if watch.Sleep(ctx, min(4*took, mostPause)) != nil {
				return context.Cause(ctx)
			}
		}
		leave := f.crowded(ctx)
		items, err := in.take(ctx)
		start, few := time.Now(), len(items) <= fewItems
		if err == nil {
			err = f.messages(ctx, up, items, &ahead)
		}
		leave()
		if err != nil {
			return err
		}
		if took, ended = 0, time.Now(); few {
			took = ended.Sub(start)
		}
	}
}

// messages applies what was taken from the inbox.
func (f *Follower) messages(ctx context.Context, up *upstream, items []item, ahead *decoder) error {
	for len(items) > 0 {
		if items[0].kind != link.MsgPart {
			if err := f.load(ctx, up, items, ahead); err != nil {
				return err
			}
			items = items[1:]
			continue
		}
		n := 0
		for n < len(items) && items[n].kind == link.MsgPart {
			n++
		}
		parts := make([]journal.Part, n)
		for i := range parts {
			if err := wire.DecodeInto(items[i].payload, &parts[i]); err != nil {
				return err
			}
		}
		items = items[n:]
		if err := f.applyParts(ctx, up, parts); err != nil {
			return err
		}
	}
	return nil
}

// Followers of one process whose databases are SQLite files share the lock of SQLite's page cache. When
// many of them apply at once they wait for it at every page, most of the time for a goroutine that does
// not run. So they take turns, and what comes for one meanwhile is applied together.
var appliers = make(chan struct{}, 2*runtime.GOMAXPROCS(0))

// turnPatience is how long a follower waits for its turn: one whose database is locked by the
// program must not stop the others.
const turnPatience = 2 * time.Second

// crowded waits for the follower's turn to apply and returns what ends it.
func (f *Follower) crowded(ctx context.Context) (leave func()) {
	if !f.node.SingleWriter() {
		return func() {}
	}
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	select {
	case appliers <- struct{}{}:
		return func() { <-appliers }
	case <-patience.C:
	case <-ctx.Done():
	}
	return func() {}
}

// mostPause is the longest pause between two commits of entries that come one after the other.
const mostPause = 10 * time.Millisecond

// fewItems is how many messages applied together are not worth a commit of their own while more come.
const fewItems = 64

// applyParts applies parts and acknowledges the entries that they complete.
func (f *Follower) applyParts(ctx context.Context, up *upstream, parts []journal.Part) error {
	before := f.apply.Position()
	if err := f.apply.Parts(ctx, parts); err != nil {
		return err
	}
	if f.apply.Position() == before {
		return nil // in the middle of an entry
	}
	last := parts[len(parts)-1]
	f.setStatus(func(s *following) {
		s.pos, s.applied = f.apply.Position(), last.Time()
		if s.master.LSN <= s.pos.LSN {
			s.master, s.level = s.pos, s.applied
		}
		if s.status.State == health.Failed {
			s.status.State = health.Joining // what stopped it is overcome
		}
		f.settle(s)
	})
	return up.write(link.MsgAck, link.Ack{LSN: f.apply.Position().LSN})
}

// load handles the first of the messages, which is one of a snapshot, or a snap's number.
func (f *Follower) load(ctx context.Context, up *upstream, items []item, ahead *decoder) error {
	it := items[0]
	switch it.kind {
	case link.MsgSnapshot:
		head, err := wire.DecodeChecked[link.SnapshotHead](it.payload)
		if err != nil {
			return err
		}
		if err := f.apply.RefuseOlder(head); err != nil {
			return err
		}
		f.setStatus(func(s *following) {
			s.through, s.status.State, s.status.Reason = apply.Loading, health.Syncing, "taking a snapshot"
		})
		f.node.Log.Info("taking a snapshot", "epoch", head.Base.Epoch, "lsn", head.Base.LSN, "resumed", head.Resume)
		return f.apply.BeginSnapshot(ctx, head)
	case link.MsgRows:
		r, err := ahead.rows(it)
		if err != nil {
			return err
		}
		if len(items) > 1 {
			ahead.begin(items[1]) // while the database takes in this one
		}
		return f.apply.TakeRows(ctx, r)
	case link.MsgFile:
		chunk, err := wire.DecodeChecked[[]byte](it.payload)
		if err != nil {
			return err
		}
		return f.apply.TakeFile(chunk)
	case link.MsgNumber:
		n, err := wire.DecodeChecked[link.NodeNumber](it.payload)
		if err != nil {
			return err
		}
		return f.local.Numbered(ctx, n.Node)
	}
	end, err := wire.DecodeChecked[link.SnapshotEnd](it.payload)
	if err != nil {
		return err
	}
	if err := f.apply.EndSnapshot(ctx, end.Through); err != nil {
		return err
	}
	f.local.Loaded()
	rows, bytes := f.apply.Taken()
	size := []any{"bytes", bytes}
	if rows > 0 { // a file's are not counted
		size = append(size, "rows", rows)
	}
	f.node.Log.Info("the snapshot is loaded", append([]any{"epoch", f.apply.Position().Epoch, "lsn", f.apply.Position().LSN}, size...)...)
	f.setStatus(func(s *following) {
		s.loaded(f.apply.Position(), end.Through)
		f.settle(s)
	})
	return up.write(link.MsgAck, link.Ack{LSN: f.apply.Position().LSN})
}
