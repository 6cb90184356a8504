package ddb

import (
	"slices"
	"testing"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/apply"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/testfuzz"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// twoRows is a change for corpora.
func twoRows() *Change {
	return &Change{Database: "d", Table: "t", Columns: []string{"id", "v", "w"}, Key: []int{0, 2}, Present: 1, Absent: 1,
		Rows: wire.AppendRow(nil, []any{int64(1), nil, "x"}), Keys: wire.AppendRow(nil, []any{int64(2), "y"})}
}

// No payload of an entry panics or never ends, and what is decoded can be taken apart.
func FuzzEntry(f *testing.F) {
	f.Add(testfuzz.Seed(f, journal.Body{Changes: []*Change{twoRows()}, Schema: []dialect.Statement{{SQL: "CREATE TABLE t (id INT)"}}, Batches: map[string]uint64{"a/q": 3}}))
	f.Add(testfuzz.Seed(f, journal.Body{Changes: []*Change{nil}}))
	negative, endless, beyond := twoRows(), twoRows(), twoRows()
	negative.Key, endless.Columns, beyond.Key = []int{-1}, nil, []int{3}
	endless.Key, endless.Present = nil, 1<<62
	f.Add(testfuzz.Seed(f, journal.Body{Changes: []*Change{negative}}))
	f.Add(testfuzz.Seed(f, journal.Body{Changes: []*Change{endless}}))
	f.Add(testfuzz.Seed(f, journal.Body{Changes: []*Change{beyond}}))
	t := &dialect.Table{Name: "t", Stored: []string{"id", "v", "w"}, Key: []int{0, 2}, ExactKey: true}
	f.Fuzz(func(tt *testing.T, payload []byte) {
		p := &Part{LSN: 1, Payload: payload}
		b, err := journal.Decode(p)
		if testfuzz.RefusedWell(tt, err) {
			return
		}
		_, err = journal.Describe(nil, p)
		testfuzz.RefusedWell(tt, err)
		pending := apply.NewCoalescer(50_000)
		for _, c := range b.Changes {
			list := testfuzz.RowsOf(tt, len(payload), c.Each, len(c.Columns), len(c.Key))
			if c.SameColumns(t) == nil {
				for _, r := range list {
					pending.Put(t, r)
				}
			}
		}
	})
}

// No message of either side panics, whatever its kind.
func FuzzMessage(f *testing.F) {
	pos := Position{Epoch: 1, LSN: 2}
	p := Part{Epoch: 1, LSN: 3, Final: true, At: 4, Payload: testfuzz.Seed(f, journal.Body{Changes: []*Change{twoRows()}})}
	p.Hash = p.Chain(pos.Hash)
	for kind, msg := range map[uint8]any{
		link.MsgGreeting: link.Greeting{Protocol: 2, Cluster: "c", Master: "m", Nonce: []byte{1}},
		link.MsgHello:    link.Hello{ID: "a", Role: Snap, Position: pos, Nonce: []byte{1}}, link.MsgProof: link.Proofs{List: [][]byte{{1}}},
		link.MsgFollow:  link.Begin{Cursor: &link.Cursor{Base: pos, Table: "t", After: wire.Row{int64(1)}}},
		link.MsgWelcome: link.Welcome{Number: 1 << 63, Node: -1}, link.MsgRefusal: link.Refusal{Code: "damaged", Text: "x"}, link.MsgPart: p,
		link.MsgBeat: link.Beat{Position: pos, State: Active, Nodes: []NodeStatus{{ID: "a"}}, Every: 1 << 62}, link.MsgAck: link.Ack{LSN: 1 << 63},
		link.MsgSnapshot: link.SnapshotHead{Base: pos, Objects: []dialect.Object{{Kind: "table"}}}, link.MsgRows: link.SnapshotRows{Change: twoRows(), After: wire.Row{int64(1), "x"}},
		link.MsgSnapshotEnd: link.SnapshotEnd{Through: 3}, link.MsgBatch: link.Batches{First: 1<<64 - 1, Bodies: [][]byte{nil}}, link.MsgVerdict: link.Verdict{Through: 1, Refused: []uint64{1}},
		link.MsgFile: []byte("SQLite format 3"), link.MsgNumber: link.NodeNumber{Node: -1},
	} {
		f.Add(kind, testfuzz.Seed(f, msg))
	}
	f.Add(link.MsgRows, testfuzz.Seed(f, link.SnapshotRows{}))
	f.Add(link.MsgRows, testfuzz.Seed(f, link.SnapshotRows{Change: &Change{Columns: []string{"id"}, Key: []int{-1}}, After: wire.Row{nil}}))
	f.Add(link.MsgPart, testfuzz.Seed(f, Part{LSN: 1, Records: -1, Index: -1}))
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		var err error
		switch kind {
		case link.MsgGreeting:
			_, err = wire.DecodeChecked[link.Greeting](payload)
		case link.MsgHello:
			var h link.Hello
			if err = wire.DecodeBy(wire.UnmarshalStrict, payload, &h); err == nil {
				_ = h.CheckNames()
			}
		case link.MsgProof:
			var p link.Proofs
			if err = wire.DecodeBy(wire.UnmarshalStrict, payload, &p); err == nil && p.Proves([]byte("k"), nil, link.ByFollower) {
				t.Error("a proof without the key")
			}
		case link.MsgFollow:
			_, err = wire.DecodeChecked[link.Begin](payload)
		case link.MsgWelcome:
			_, err = wire.DecodeChecked[link.Welcome](payload)
		case link.MsgRefusal:
			var r link.Refusal
			if r, err = wire.DecodeChecked[link.Refusal](payload); err == nil {
				_ = r.Err().Error()
			}
		case link.MsgPart:
			var p Part
			if p, err = wire.DecodeChecked[Part](payload); err == nil {
				_ = p.Follows(Position{LSN: p.LSN - 1}.Anchor())
				_ = journal.Sequence(p.LSN, p.Index)
				_ = p.Time()
			}
		case link.MsgBeat:
			var b link.Beat
			if b, err = wire.DecodeChecked[link.Beat](payload); err == nil && 3*time.Duration(b.Every) < 0 {
				t.Errorf("an interval of %d", b.Every)
			}
		case link.MsgAck:
			_, err = wire.DecodeChecked[link.Ack](payload)
		case link.MsgSnapshot:
			_, err = wire.DecodeChecked[link.SnapshotHead](payload)
		case link.MsgRows:
			var r *apply.Rows
			if r, err = apply.DecodeRows(payload); err == nil && (len(r.List) != r.Change.Present || slices.ContainsFunc(r.List, func(r dialect.Row) bool { return r.Values == nil })) {
				t.Errorf("%d rows of %d", len(r.List), r.Change.Present)
			}
		case link.MsgSnapshotEnd:
			_, err = wire.DecodeChecked[link.SnapshotEnd](payload)
		case link.MsgBatch:
			var b link.Batches
			if b, err = wire.DecodeChecked[link.Batches](payload); err == nil && b.First+uint64(len(b.Bodies)) < b.First {
				t.Errorf("%d batches from %d on", len(b.Bodies), b.First)
			}
		case link.MsgVerdict:
			_, err = wire.DecodeChecked[link.Verdict](payload)
		case link.MsgNumber:
			_, err = wire.DecodeChecked[link.NodeNumber](payload)
		case link.MsgFile:
			_, err = wire.DecodeChecked[[]byte](payload)
		}
		testfuzz.RefusedWell(t, err)
	})
}
