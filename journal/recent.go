package journal

import (
	"slices"
	"sync"
)

// MaxRecent is how much of its newest entries a master keeps in memory for its senders.
const MaxRecent = 16 << 20

// Recent keeps the newest entries in memory, so that a sender that is level does not
// read the journal.
type Recent struct {
	mu    sync.Mutex
	parts []Part
	bytes int
	end   LSN
}

// Add appends the parts of the entry at pos; nil parts stand for an entry too large to keep.
func (r *Recent) Add(parts []Part, pos Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if parts == nil || len(r.parts) > 0 && r.end+1 != pos.LSN {
		r.parts, r.bytes = nil, 0
	}
	for _, p := range parts {
		r.bytes += len(p.Payload) + PartOverhead
	}
	r.parts = append(r.parts, parts...)
	r.end = pos.LSN
	cut := 0
	for r.bytes > MaxRecent && cut < len(r.parts) {
		r.bytes -= len(r.parts[cut].Payload) + PartOverhead
		cut++
	}
	clear(r.parts[:cut]) // lets their payloads go; the next growth of the slice lets the places go
	r.parts = r.parts[cut:]
}

// after returns the parts that follow entry lsn, up to limit bytes of whole entries; false if they are
// not all in memory.
func (r *Recent) after(lsn LSN, limit int) ([]Part, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := slices.BinarySearchFunc(r.parts, lsn+1, func(p Part, l LSN) int {
		return int(int64(p.LSN) - int64(l))
	})
	for i > 0 && r.parts[i-1].LSN == lsn+1 {
		i--
	}
	if !found || r.parts[i].Index != 0 {
		return nil, false
	}
	end, bytes := i, 0
	for end < len(r.parts) && (bytes < limit || !r.parts[end-1].Final) {
		bytes += len(r.parts[end].Payload) + PartOverhead
		end++
	}
	return slices.Clone(r.parts[i:end]), true
}
