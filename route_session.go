package ddb

import (
	"sync/atomic"
	"time"

	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
)

// session remembers what this process has written, for read-your-writes.
type session struct {
	// covered tells, on a master, up to which of this process's writes the entries have them all, and the last of these entries. It is
	// asked after calls of wrote only.
	covered func() (write uint64, lsn journal.LSN)

	lsn     atomic.Uint64 // reads must see this entry
	write   atomic.Uint64 // and this write, not yet known to be in an entry
	settled atomic.Uint64 // writes up to this are covered by lsn
	at      atomic.Int64  // last write, unix nanoseconds; for members without LSNs
}

// wrote remembers a write, by its number in this process.
func (s *session) wrote(n uint64) { watch.Raise(&s.write, n) }

// sees remembers that reads must see an entry.
func (s *session) sees(lsn uint64) { watch.Raise(&s.lsn, lsn) }

// wroteNow remembers a write of which nothing is known but when it was.
func (s *session) wroteNow() { s.at.Store(time.Now().UnixNano()) }

// unsettled returns the number of the last write if it was not known to be in an entry when that was last asked.
func (s *session) unsettled() (write uint64, ok bool) {
	w := s.write.Load()
	return w, w > s.settled.Load()
}

// seen returns the last entry that reads must see, as far as it is known.
func (s *session) seen() uint64 { return s.lsn.Load() }

// need returns the LSN that a node must have to show everything this process has
// written; false if some of it is in no entry yet, so that only the master shows it.
func (s *session) need() (journal.LSN, bool) {
	w := s.write.Load()
	if w > s.settled.Load() {
		covered, lsn := s.covered()
		if covered < w {
			return 0, false
		}
		watch.Raise(&s.lsn, uint64(lsn))
		watch.Raise(&s.settled, w)
	}
	return journal.LSN(s.lsn.Load()), true
}
