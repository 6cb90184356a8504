package link

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
)

// What nodes say to each other once the follower is let in (handshake.go). From then on the connection carries many
// streams: the first is the follower's own (entries one way, acknowledgements the other, heartbeats both ways), each
// other one is a database connection, opened by whichever side wants to query the other.

// protocolVersion rises when a node could misread another's messages.
const protocolVersion = 3

// FrameBytes is the largest message: one part with one huge row.
const FrameBytes = 256 << 20

// Kinds of messages.
const (
	MsgGreeting uint8 = iota + 1
	MsgHello
	MsgWelcome
	MsgRefusal
	MsgFollow
	MsgPart
	MsgBeat
	MsgAck
	MsgSnapshot
	MsgRows
	MsgSnapshotEnd
	MsgBatch
	MsgVerdict
	MsgFile
	MsgProof
	MsgNumber
)

// Greeting is the master's first word.
type Greeting struct {
	Protocol int    `cbor:"1,keyasint"`
	Cluster  string `cbor:"2,keyasint"`
	Master   string `cbor:"3,keyasint"`
	Epoch    uint64 `cbor:"4,keyasint"`
	Nonce    []byte `cbor:"5,keyasint"`
	Bound    bool   `cbor:"6,keyasint,omitempty"` // the connection has a transport.Bound at this end
}

// Hello is the follower's answer.
type Hello struct {
	Cluster  string           `cbor:"2,keyasint,omitempty"` // empty on a node that never belonged to one
	ID       string           `cbor:"3,keyasint"`
	Role     health.Role      `cbor:"4,keyasint"`
	Dialect  string           `cbor:"5,keyasint"`
	Position journal.Position `cbor:"6,keyasint"`
	Nonce    []byte           `cbor:"7,keyasint"`
	Rejoin   bool             `cbor:"8,keyasint,omitempty"`
	Bound    bool             `cbor:"9,keyasint,omitempty"`  // as in the greeting
	Number   uint64           `cbor:"10,keyasint,omitempty"` // of a snap: the last batch that has left its queue
	Queue    string           `cbor:"11,keyasint,omitempty"` // of a snap: tells its queue from that of another database under the same id
}

// Proofs shows that its sender holds a key, without showing the key: one for each key that a follower has, one from the master.
type Proofs struct {
	List [][]byte `cbor:"1,keyasint,omitempty"`
}

// Begin opens the follower's stream.
type Begin struct {
	Cursor *Cursor `cbor:"1,keyasint,omitempty"` // of a snapshot that was cut off
}

// QueueName names a snap's queue in the table received and in entries. An id cannot hold a slash.
func QueueName(id, queue string) string {
	if queue == "" { // made before queues had names
		return id
	}
	return id + "/" + queue
}

// Welcome lets the follower in.
type Welcome struct {
	Snapshot bool   `cbor:"1,keyasint,omitempty"` // a snapshot comes first
	Number   uint64 `cbor:"2,keyasint,omitempty"` // of a snap: the last batch that the master has
	Node     int64  `cbor:"3,keyasint,omitempty"` // of a snap: its small number, for handed-out keys, if it has one
	Prompt   bool   `cbor:"4,keyasint,omitempty"` // writes on the master wait for acknowledgements
	Last     []byte `cbor:"5,keyasint,omitempty"` // of a snap: the sum of batch Number, if the master knows it
}

// NodeNumber tells a snap its small number.
type NodeNumber struct {
	Node int64 `cbor:"1,keyasint"`
}

// Refusal is why the other side is not let in, or thrown out.
type Refusal struct {
	Code     string          `cbor:"1,keyasint"`
	Text     string          `cbor:"2,keyasint"`
	Remedies []remedy.Remedy `cbor:"3,keyasint,omitempty"` // Text names them
}

// maxRemedies is how many remedies of a refusal are believed.
const maxRemedies = 8

// Beat is a heartbeat. Both sides send one per Options.Heartbeat.
type Beat struct {
	Position journal.Position `cbor:"1,keyasint"` // the sender's last durable entry
	At       int64            `cbor:"2,keyasint"` // the sender's clock, unix nanoseconds
	State    health.State     `cbor:"3,keyasint,omitempty"`
	Reason   string           `cbor:"4,keyasint,omitempty"`
	Nodes    []health.Status  `cbor:"5,keyasint,omitempty"` // from the master: the cluster as it sees it
	Every    int64            `cbor:"6,keyasint,omitempty"` // the sender's interval, nanoseconds
	Pending  int64            `cbor:"7,keyasint,omitempty"` // of a snap: batches not yet accepted
	// What the sender's own HealthChecker has found wrong: Inactive or Lagging, and why.
	Unwell       health.State `cbor:"8,keyasint,omitempty"`
	UnwellReason string       `cbor:"9,keyasint,omitempty"`
}

// Ack tells how far a follower has come.
type Ack struct {
	LSN journal.LSN `cbor:"1,keyasint"`
}

// Cursor says how far a follower has come with a snapshot.
type Cursor struct {
	Base  journal.Position `cbor:"1,keyasint"`           // where the snapshot began: entries after it must be applied over it
	Table string           `cbor:"2,keyasint,omitempty"` // journal.TableName.Key of the table at hand
	After wire.Row         `cbor:"3,keyasint,omitempty"` // its last key that is stored
	Rows  int64            `cbor:"4,keyasint,omitempty"`
}

// SnapshotHead opens a snapshot, or its continuation.
type SnapshotHead struct {
	Base    journal.Position `cbor:"1,keyasint"`
	Resume  bool             `cbor:"2,keyasint,omitempty"` // go on behind the cursor; no objects are sent
	Objects []dialect.Object `cbor:"3,keyasint,omitempty"`
	Total   int64            `cbor:"4,keyasint,omitempty"`
	File    bool             `cbor:"5,keyasint,omitempty"` // the rows come as a file of the database
}

// ChunkRows is how many rows of a snapshot are read at once, and sent at once if journal.PartBytes does not end them first.
const ChunkRows = 20_000

// SnapshotRows is a chunk of a snapshot.
type SnapshotRows struct {
	Change *journal.Change `cbor:"1,keyasint"`
	After  wire.Row        `cbor:"2,keyasint"` // the chunk's last key
}

// SnapshotEnd closes it. The follower is consistent once it has applied Through.
type SnapshotEnd struct {
	Through journal.LSN `cbor:"1,keyasint"`
}

// RefusalCodes are the errors that keep their identity across the wire.
var RefusalCodes = map[string]error{
	"version": fault.ErrVersion, "cluster": fault.ErrOtherCluster, "forked": fault.ErrForked, "epoch": fault.ErrOldEpoch,
	"snap": fault.ErrUnknownNode, "master": fault.ErrUnknownMaster, "duplicate": fault.ErrDuplicateID, "options": fault.ErrOptions, "closed": fault.ErrClosed, "damaged": fault.ErrDamaged,
	"unsettled": fault.ErrUnsettled,
}

// RefusalOf returns what the other side is told of an error.
func RefusalOf(err error) Refusal {
	r := Refusal{Code: "error", Text: err.Error(), Remedies: remedy.Of(err)}
	for code, sentinel := range RefusalCodes {
		if errors.Is(err, sentinel) {
			r.Code = code
			break
		}
	}
	return r
}

// Err rebuilds the error that the other side meant.
func (r Refusal) Err() error {
	return &remoteError{text: r.Text, is: RefusalCodes[r.Code], remedies: r.Remedies[:min(len(r.Remedies), maxRemedies)]}
}

type remoteError struct {
	text     string
	is       error
	remedies []remedy.Remedy
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// As gives out the remedies.
func (e *remoteError) As(target any) bool {
	t, ok := target.(**remedy.Error)
	if ok = ok && len(e.remedies) > 0; ok {
		*t = remedy.Parse(e.is, e.text, e.remedies)
	}
	return ok
}

// HeardConn tells of every piece that arrives: a large message on a slow link is no silence.
type HeardConn struct {
	net.Conn
	Heard func()
}

// Read reads from the connection, and calls Heard if anything came.
func (c HeardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.Heard()
	}
	return n, err
}

// CloseWith closes c when ctx ends, until the function that it returns is called, which waits for a close
// that is under way.
func CloseWith(ctx context.Context, c io.Closer) (stop func()) {
	closed := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(closed)
		c.Close()
	})
	return func() {
		if !cancel() {
			<-closed
		}
	}
}

func deadline(conn net.Conn, d time.Duration) { conn.SetDeadline(time.Now().Add(d)) }

// Beats sends heartbeats until ctx ends.
func Beats(ctx context.Context, every time.Duration, send func() error) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := send(); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// GoneReason says for people why a connection has ended.
func GoneReason(err error) string {
	switch {
	case errors.Is(err, fault.ErrNoMaster):
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the other side closed the connection"
	}
	return err.Error()
}

// Batches is the message that takes batches to the master. Without any, it asks
// for an entry that says that the master has those up to First.
type Batches struct {
	First  uint64   `cbor:"1,keyasint"`           // number of the first; the others follow without gaps
	Now    int64    `cbor:"2,keyasint"`           // the snap's clock
	Bodies [][]byte `cbor:"3,keyasint,omitempty"` // of type batch
}

// Verdict says that the master has counted the batches up to Through.
type Verdict struct {
	Through uint64   `cbor:"1,keyasint"`
	Refused []uint64 `cbor:"2,keyasint,omitempty"` // of them, those that were refused; their rows are in the conflicts table
}
