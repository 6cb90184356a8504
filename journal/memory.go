package journal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
)

// memJournal is a Journal in memory: the twin of the default one, for tests.
type memJournal struct {
	mu    sync.Mutex
	parts []Part
}

// NewMemory returns a Journal that is lost with the process. It suits tests; a
// node that uses it must take a new snapshot after each start.
func NewMemory() Journal { return new(memJournal) }

func (j *memJournal) Append(ctx context.Context, parts ...Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range parts {
		if p.Anchor() {
			j.parts = nil
		}
		j.parts = append(j.parts, p)
	}
	return nil
}

// whole returns the parts of finished entries; the caller holds mu.
func (j *memJournal) whole() []Part {
	n := len(j.parts)
	for n > 0 && !j.parts[n-1].Final {
		n--
	}
	return j.parts[:n]
}

func (j *memJournal) Read(ctx context.Context, lsn LSN, index int, limit int) ([]Part, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Part
	size := 0
	for _, p := range j.whole() {
		if Sequence(p.LSN, p.Index) <= Sequence(lsn, index) {
			continue
		}
		if len(out) == 0 && (p.LSN > lsn+1 || p.LSN == lsn+1 && p.Index != 0) {
			return nil, fmt.Errorf("%w: entry %d is gone, the first is %d", fault.ErrTrimmed, lsn+1, p.LSN)
		}
		if size += len(p.Payload) + PartOverhead; len(out) > 0 && size > limit {
			break
		}
		out = append(out, p)
	}
	return out, nil
}

func (j *memJournal) Bounds(ctx context.Context) (first, last Position, err error) {
	if err := ctx.Err(); err != nil {
		return first, last, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.whole() {
		if p.Final && first.LSN == 0 {
			first = p.Position()
		}
		if p.Final {
			last = p.Position()
		}
	}
	return first, last, nil
}

func (j *memJournal) Trim(ctx context.Context, through LSN) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	whole := j.whole()
	if len(whole) == 0 {
		return nil
	}
	last := whole[len(whole)-1].LSN
	var kept []Part
	for _, p := range j.parts {
		if p.LSN > through || p.LSN >= last {
			kept = append(kept, p)
		}
	}
	j.parts = kept
	return nil
}

func (j *memJournal) Size(ctx context.Context, after LSN) (entries, bytes int64, oldest time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, oldest, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.whole() {
		if p.LSN <= after {
			continue
		}
		if oldest.IsZero() {
			oldest = p.Time()
		}
		if bytes += int64(len(p.Payload)); p.Final {
			entries++
		}
	}
	return entries, bytes, oldest, nil
}

func (j *memJournal) Before(ctx context.Context, at time.Time) (LSN, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var lsn LSN
	for _, p := range j.whole() {
		if p.Final && p.Time().Before(at) {
			lsn = p.LSN
		}
	}
	return lsn, nil
}
