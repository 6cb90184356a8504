package route

import (
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// Session remembers what this process has written, for read-your-writes.
type Session struct {
	// Covered tells, on a master, up to which of this process's writes the entries have them all, and the last of these entries. It is
	// asked after calls of Wrote only.
	Covered func() (write uint64, lsn journal.LSN)

	lsn     atomic.Uint64 // reads must see this entry
	write   atomic.Uint64 // and this write, not yet known to be in an entry
	settled atomic.Uint64 // writes up to this are covered by lsn
	at      atomic.Int64  // last write, unix nanoseconds; for members without LSNs
}

// Wrote remembers a write, by its number in this process.
func (s *Session) Wrote(n uint64) { watch.Raise(&s.write, n) }

// Sees remembers that reads must see an entry.
func (s *Session) Sees(lsn uint64) { watch.Raise(&s.lsn, lsn) }

// WroteNow remembers a write of which nothing is known but when it was.
func (s *Session) WroteNow() { s.at.Store(time.Now().UnixNano()) }

// Unsettled returns the number of the last write if it was not known to be in an entry when that was last asked.
func (s *Session) Unsettled() (write uint64, ok bool) {
	w := s.write.Load()
	return w, w > s.settled.Load()
}

// Seen returns the last entry that reads must see, as far as it is known.
func (s *Session) Seen() uint64 { return s.lsn.Load() }

// need returns the LSN that a node must have to show everything this process has
// written; false if some of it is in no entry yet, so that only the master shows it.
func (s *Session) need() (journal.LSN, bool) {
	w := s.write.Load()
	if w > s.settled.Load() {
		covered, lsn := s.Covered()
		if covered < w {
			return 0, false
		}
		watch.Raise(&s.lsn, uint64(lsn))
		watch.Raise(&s.settled, w)
	}
	return journal.LSN(s.lsn.Load()), true
}
