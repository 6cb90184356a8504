package ddb

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/wire"
)

// What nodes say to each other once the follower is let in (handshake.go). From then on the connection carries many
// streams: the first is the follower's own (entries one way, acknowledgements the other, heartbeats both ways), each
// other one is a database connection, opened by whichever side wants to query the other.

// protocolVersion rises when a node could misread another's messages.
const protocolVersion = 3

// Kinds of messages.
const (
	msgGreeting uint8 = iota + 1
	msgHello
	msgWelcome
	msgRefusal
	msgFollow
	msgPart
	msgBeat
	msgAck
	msgSnapshot
	msgRows
	msgSnapshotEnd
	msgBatch
	msgVerdict
	msgFile
	msgProof
	msgNumber
)

// greeting is the master's first word.
type greeting struct {
	Protocol int    `cbor:"1,keyasint"`
	Cluster  string `cbor:"2,keyasint"`
	Master   string `cbor:"3,keyasint"`
	Epoch    uint64 `cbor:"4,keyasint"`
	Nonce    []byte `cbor:"5,keyasint"`
	Bound    bool   `cbor:"6,keyasint,omitempty"` // the connection has a transport.Bound at this end
}

// hello is the follower's answer.
type hello struct {
	Cluster  string   `cbor:"2,keyasint,omitempty"` // empty on a node that never belonged to one
	ID       string   `cbor:"3,keyasint"`
	Role     Role     `cbor:"4,keyasint"`
	Dialect  string   `cbor:"5,keyasint"`
	Position Position `cbor:"6,keyasint"`
	Nonce    []byte   `cbor:"7,keyasint"`
	Rejoin   bool     `cbor:"8,keyasint,omitempty"`
	Bound    bool     `cbor:"9,keyasint,omitempty"`  // as in the greeting
	Number   uint64   `cbor:"10,keyasint,omitempty"` // of a snap: the last batch that has left its queue
	Queue    string   `cbor:"11,keyasint,omitempty"` // of a snap: tells its queue from that of another database under the same id
}

// proofs shows that its sender holds a key, without showing the key: one for each key that a follower has, one from the master.
type proofs struct {
	List [][]byte `cbor:"1,keyasint,omitempty"`
}

// begin opens the follower's stream.
type begin struct {
	Cursor *cursor `cbor:"1,keyasint,omitempty"` // of a snapshot that was cut off
}

// queueName names a snap's queue in the table received and in entries. An id cannot hold a slash.
func queueName(id, queue string) string {
	if queue == "" { // made before queues had names
		return id
	}
	return id + "/" + queue
}

// welcome lets the follower in.
type welcome struct {
	Snapshot bool   `cbor:"1,keyasint,omitempty"` // a snapshot comes first
	Number   uint64 `cbor:"2,keyasint,omitempty"` // of a snap: the last batch that the master has
	Node     int64  `cbor:"3,keyasint,omitempty"` // of a snap: its small number, for handed-out keys, if it has one
	Prompt   bool   `cbor:"4,keyasint,omitempty"` // writes on the master wait for acknowledgements
	Last     []byte `cbor:"5,keyasint,omitempty"` // of a snap: the sum of batch Number, if the master knows it
}

// nodeNumber tells a snap its small number.
type nodeNumber struct {
	Node int64 `cbor:"1,keyasint"`
}

// refusal is why the other side is not let in, or thrown out.
type refusal struct {
	Code string `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint"`
}

// beat is a heartbeat. Both sides send one per Options.Heartbeat.
type beat struct {
	Position Position     `cbor:"1,keyasint"` // the sender's last durable entry
	At       int64        `cbor:"2,keyasint"` // the sender's clock, unix nanoseconds
	State    State        `cbor:"3,keyasint,omitempty"`
	Reason   string       `cbor:"4,keyasint,omitempty"`
	Nodes    []NodeStatus `cbor:"5,keyasint,omitempty"` // from the master: the cluster as it sees it
	Every    int64        `cbor:"6,keyasint,omitempty"` // the sender's interval, nanoseconds
	Pending  int64        `cbor:"7,keyasint,omitempty"` // of a snap: batches not yet accepted
	// What the sender's own HealthChecker has found wrong: Inactive or Lagging, and why.
	Unwell       State  `cbor:"8,keyasint,omitempty"`
	UnwellReason string `cbor:"9,keyasint,omitempty"`
}

type ack struct {
	LSN LSN `cbor:"1,keyasint"`
}

// cursor says how far a follower has come with a snapshot.
type cursor struct {
	Base  Position `cbor:"1,keyasint"`           // where the snapshot began: entries after it must be applied over it
	Table string   `cbor:"2,keyasint,omitempty"` // tableName of the table at hand
	After wire.Row `cbor:"3,keyasint,omitempty"` // its last key that is stored
	Rows  int64    `cbor:"4,keyasint,omitempty"`
}

// snapshotHead opens a snapshot, or its continuation.
type snapshotHead struct {
	Base    Position         `cbor:"1,keyasint"`
	Resume  bool             `cbor:"2,keyasint,omitempty"` // go on behind the cursor; no objects are sent
	Objects []dialect.Object `cbor:"3,keyasint,omitempty"`
	Total   int64            `cbor:"4,keyasint,omitempty"`
	File    bool             `cbor:"5,keyasint,omitempty"` // the rows come as a file of the database
}

// snapshotRows is a chunk of a snapshot.
type snapshotRows struct {
	Change *Change  `cbor:"1,keyasint"`
	After  wire.Row `cbor:"2,keyasint"` // the chunk's last key
}

// snapshotEnd closes it. The follower is consistent once it has applied Through.
type snapshotEnd struct {
	Through LSN `cbor:"1,keyasint"`
}

// refusalCodes are the errors that keep their identity across the wire.
var refusalCodes = map[string]error{
	"version": ErrVersion, "cluster": ErrOtherCluster, "forked": ErrForked, "epoch": ErrOldEpoch,
	"snap": ErrUnknownNode, "master": ErrUnknownMaster, "duplicate": ErrDuplicateID, "options": ErrOptions, "closed": ErrClosed, "damaged": ErrDamaged,
	"unsettled": ErrUnsettled,
}

func refusalOf(err error) refusal {
	for code, sentinel := range refusalCodes {
		if errors.Is(err, sentinel) {
			return refusal{Code: code, Text: err.Error()}
		}
	}
	return refusal{Code: "error", Text: err.Error()}
}

// err rebuilds the error that the other side meant.
func (r refusal) err() error {
	if sentinel, ok := refusalCodes[r.Code]; ok {
		return &remoteError{text: r.Text, is: sentinel}
	}
	return &remoteError{text: r.Text}
}

type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// heardConn tells of every piece that arrives: a large message on a slow link is no silence.
type heardConn struct {
	net.Conn
	heard func()
}

func (c heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard()
	}
	return n, err
}

// closeWith closes c when ctx ends, until the function that it returns is called, which waits for a close
// that is under way.
func closeWith(ctx context.Context, c io.Closer) (stop func()) {
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

// beats sends heartbeats until ctx ends.
func beats(ctx context.Context, every time.Duration, send func() error) error {
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

// goneReason says for people why a connection has ended.
func goneReason(err error) string {
	switch {
	case errors.Is(err, ErrNoMaster):
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the other side closed the connection"
	}
	return err.Error()
}
