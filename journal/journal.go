package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
)

// The journal keeps these invariants; comments elsewhere cite them by number.
//
//	J1  LSNs have no gaps: the entry after (epoch, n) has LSN n+1, in the same or a later epoch.
//	J2  A part is in the journal before it is shipped, and an outbox note is cleared no earlier.
//	J3  Hash(part) = SHA-256(Hash(previous part), head of the part, payload). Equal hashes mean equal histories.
//	J4  A reader sees whole entries only: the parts of an entry become visible together, the last one marked Final.
//	J5  On a follower, the rows of an entry and its parts in the journal commit in one transaction;
//	    the follower's position is the journal's end, so applying is exactly-once. A journal outside the
//	    database gets the parts after that commit, in which the database notes the entry's LSN.
//	J6  Trim removes whole entries from the front, never the last entry: its hash anchors the chain.

// LSN is a log sequence number: the place of an entry in the history of a
// cluster. The first entry has LSN 1; 0 stands before it.
type LSN uint64

// Hash is the chain hash over an entry and everything before it.
type Hash [sha256.Size]byte

// String returns the first eight bytes in hexadecimal, enough to tell two apart in a log.
func (h Hash) String() string { return hex.EncodeToString(h[:8]) }

// Position names the end of a history: the last entry and the chain hash there.
type Position struct {
	Epoch uint64 `cbor:"1,keyasint"`
	LSN   LSN    `cbor:"2,keyasint"`
	Hash  Hash   `cbor:"3,keyasint"`
}

// String formats the position as epoch/LSN.
func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Epoch, p.LSN) }

// Part is a piece of an entry. Most entries have one; an entry that holds a huge
// transaction has many, so that no node needs to hold it in memory. A part's
// payload is stored and shipped as the same bytes.
type Part struct {
	Epoch   uint64 `cbor:"1,keyasint"`
	LSN     LSN    `cbor:"2,keyasint"`
	Index   int    `cbor:"3,keyasint"`           // 0 for the entry's first part
	Final   bool   `cbor:"4,keyasint,omitempty"` // the entry's last part
	At      int64  `cbor:"5,keyasint"`           // time of the snapshot, unix nanoseconds
	Records int    `cbor:"6,keyasint"`           // row states in the payload; -1 in an anchor
	Hash    Hash   `cbor:"7,keyasint"`
	Payload []byte `cbor:"8,keyasint"`
}

// Anchor reports whether the part holds no entry, but says where a history stands that a snapshot has
// brought. A journal forgets what it had when an anchor is appended.
func (p *Part) Anchor() bool { return p.Records < 0 }

// Time returns the time of the snapshot that the part was read from.
func (p *Part) Time() time.Time { return time.Unix(0, p.At) }

// Position returns where a history stands that ends with this part's entry.
func (p *Part) Position() Position { return Position{Epoch: p.Epoch, LSN: p.LSN, Hash: p.Hash} }

// Chain computes the part's hash from that of the part before it (J3).
func (p *Part) Chain(previous Hash) Hash {
	var head [32 + 8*4]byte
	copy(head[:], previous[:])
	binary.BigEndian.PutUint64(head[32:], p.Epoch)
	binary.BigEndian.PutUint64(head[40:], uint64(p.LSN))
	place := uint64(p.Index) << 1
	if p.Final {
		place |= 1
	}
	binary.BigEndian.PutUint64(head[48:], place)
	binary.BigEndian.PutUint64(head[56:], uint64(p.At))
	h := sha256.New()
	h.Write(head[:])
	h.Write(p.Payload)
	return Hash(h.Sum(nil))
}

// Follows checks that the part continues a history that ends with prev (the
// previous part, or the position at the journal's end) and is undamaged.
func (p *Part) Follows(prev Part) error {
	next := prev.LSN + 1
	index := 0
	if !prev.Final {
		next, index = prev.LSN, prev.Index+1
	}
	switch {
	case p.LSN != next || p.Index != index:
		return fmt.Errorf("%w: entry %d part %d came after entry %d part %d", fault.ErrGap, p.LSN, p.Index, prev.LSN, prev.Index)
	case p.Epoch < prev.Epoch:
		return fmt.Errorf("%w: entry %d of epoch %d came after epoch %d", fault.ErrOldEpoch, p.LSN, p.Epoch, prev.Epoch)
	case p.Hash != p.Chain(prev.Hash):
		return fmt.Errorf("%w: entry %d part %d does not carry the hash of its content and predecessor", fault.ErrDamaged, p.LSN, p.Index)
	}
	return nil
}

// Anchor is the pretended last part of a history that ends at the position.
func (p Position) Anchor() Part {
	return Part{Epoch: p.Epoch, LSN: p.LSN, Hash: p.Hash, Final: true}
}

// Journal is the ordered, durable log of entries on a node. The default is a
// table in the node's own database. An implementation must pass
// [github.com/ddb-project/ddb/ddbtest.Journal].
type Journal interface {
	// Append stores parts that continue the journal's end, or an anchor, with which it begins anew. When it returns without
	// error they are durable; after an error none of them is visible. Parts of an
	// unfinished entry are not visible to Read or Bounds (J4).
	Append(ctx context.Context, parts ...Part) error
	// Read returns the parts that follow part index of entry lsn (use lsn, -1 for
	// an entry from its first part; a part index beyond the last means the next entry), in order, as many as
	// fit in limit bytes but at least one. None at the end. ErrTrimmed if lsn was trimmed.
	Read(ctx context.Context, lsn LSN, index int, limit int) ([]Part, error)
	// Bounds returns the positions of the first and the last entry; both zero for an empty journal.
	Bounds(ctx context.Context) (first, last Position, err error)
	// Trim forgets the entries up to and including through, except the last one (J6).
	Trim(ctx context.Context, through LSN) error
}

// Transactional is what a Journal that lives in the node's own database has
// beside Journal: it appends inside the transaction that changes the rows (J5).
type Transactional interface {
	AppendIn(ctx context.Context, q dialect.Querier, part Part) error
}

// Sizer is what a Journal may say of how much it holds. A journal that does is trimmed to
// Options.JournalMaxBytes and JournalMaxAge; another keeps everything.
type Sizer interface {
	// Size returns the bytes of the payloads of entries after lsn, how many entries they
	// are, and the time of the oldest of them, zero if there is none.
	Size(ctx context.Context, after LSN) (entries int64, bytes int64, oldest time.Time, err error)
	// Before returns the LSN of the last entry that is older than at, 0 if none is.
	Before(ctx context.Context, at time.Time) (LSN, error)
}
