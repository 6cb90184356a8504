package remote

import (
	"io"
	"time"

	"github.com/ddb-project/ddb/internal/wire"
)

// The limits of a session. They hold on both sides, so that a client learns of
// its mistake before it sends and a server never trusts a client.
const (
	// protocolVersion rises when an older peer could misread a message.
	protocolVersion = 1
	// maxFrame bounds one message, and with it one row and one statement
	// together with its arguments.
	maxFrame = 128 << 20
	// frameReserve is the part of a frame kept for what is not SQL or values.
	frameReserve = 1 << 20
	// maxStatement bounds the text of one statement, in bytes.
	maxStatement = 16 << 20
	// maxArgs is the largest number of placeholders MariaDB can prepare.
	maxArgs = 65535
	// maxColumns is above the limit of MariaDB (4096) and SQLite (32767).
	maxColumns = 1 << 15
	// maxStmts bounds the prepared statements of one session.
	maxStmts = 1024
	// chunkBytes is the size at which a chunk of rows is sent. At most three
	// chunks are in memory at once on each side.
	chunkBytes = 64 << 10
	// chunkAge is how long a row waits for others to fill its chunk.
	chunkAge = 50 * time.Millisecond
	// queuedRequests is how many messages may wait for the session: a release
	// and the request after it. A client that sends more breaks the protocol.
	queuedRequests = 4

	// idleLimit ends a session that sent no request for so long; an open
	// transaction is rolled back.
	idleLimit = 30 * time.Minute
	// stallLimit ends a session whose client does not read its rows.
	stallLimit = 10 * time.Minute
	// requestWriteLimit is how long the client tries to hand over a request.
	// The server always reads, so a longer wait means that the link is dead.
	requestWriteLimit = time.Minute
	// cancelGrace is how long the client waits for the server to confirm a
	// cancelled statement before it gives the connection up.
	cancelGrace = 250 * time.Millisecond
	// drainGrace and drainGraceTx are how long Rows.Close waits for the server
	// to stop. A transaction is worth a longer wait, because it is lost with
	// the connection.
	drainGrace   = time.Second
	drainGraceTx = 30 * time.Second
	// goodbyeGrace is how long a closing server tries to say so.
	goodbyeGrace = time.Second
)

// The kinds of messages. Requests are answered; cancel and release are not.
const (
	kindExec uint8 = iota + 1
	kindQuery
	kindPrepare
	kindBegin
	kindCommit
	kindRollback
	kindPing
	kindRelease
	kindCancel

	kindDone    // answers all requests except a query
	kindChunk   // answers a query
	kindError   // answers any request
	kindGoodbye // the server closes the stream
)

// Header travels with every request. This package only carries it.
type Header struct {
	Kill     bool  `cbor:"4,keyasint,omitempty"` // end the statement in the server too when it is canceled
	MaxBytes int64 `cbor:"5,keyasint,omitempty"` // of a row of the answer; 0 for no limit but the frame's
}

// request is the body of every request and of release.
type request struct {
	Version    uint64   `cbor:"1,keyasint"`
	Seq        uint64   `cbor:"2,keyasint"` // counts from 1, without gaps
	Header     Header   `cbor:"3,keyasint"`
	SQL        string   `cbor:"4,keyasint,omitempty"`
	Stmt       uint64   `cbor:"5,keyasint,omitempty"` // a prepared statement instead of SQL
	Args       []byte   `cbor:"6,keyasint,omitempty"` // NumArgs times name and value
	NumArgs    int      `cbor:"7,keyasint,omitempty"`
	Isolation  int      `cbor:"8,keyasint,omitempty"`
	ReadOnly   bool     `cbor:"9,keyasint,omitempty"`
	CloseStmts []uint64 `cbor:"10,keyasint,omitempty"` // done first
}

// cancel stops the request Seq if it still runs. A soft cancel ends the rows
// without harming the transaction around them; a hard one cancels the
// statement's context.
type cancel struct {
	Seq  uint64 `cbor:"1,keyasint"`
	Soft bool   `cbor:"2,keyasint,omitempty"`
}

// done answers every request except a query.
type done struct {
	Seq          uint64 `cbor:"1,keyasint"`
	Token        uint64 `cbor:"2,keyasint,omitempty"`
	LastInsertID int64  `cbor:"3,keyasint,omitempty"`
	RowsAffected int64  `cbor:"4,keyasint,omitempty"`
	NoInsertID   string `cbor:"5,keyasint,omitempty"` // why LastInsertId fails
	NoAffected   string `cbor:"6,keyasint,omitempty"` // why RowsAffected fails
	Stmt         uint64 `cbor:"7,keyasint,omitempty"`
}

// chunk is a part of a query's answer. The first chunk of each result set has
// its columns; EndSet closes a result set and Done the answer.
type chunk struct {
	Seq     uint64   `cbor:"1,keyasint"`
	Token   uint64   `cbor:"2,keyasint,omitempty"`
	NewSet  bool     `cbor:"3,keyasint,omitempty"`
	Columns []column `cbor:"4,keyasint,omitempty"`
	Rows    []byte   `cbor:"5,keyasint,omitempty"` // NumRows times the columns' values
	NumRows int      `cbor:"6,keyasint,omitempty"`
	EndSet  bool     `cbor:"7,keyasint,omitempty"`
	Done    bool     `cbor:"8,keyasint,omitempty"`
}

// column is what is known of a result column.
type column struct {
	Name      string `cbor:"1,keyasint"`
	Type      string `cbor:"2,keyasint,omitempty"`
	Scan      string `cbor:"3,keyasint,omitempty"` // a name in scanTypes
	HasNull   bool   `cbor:"4,keyasint,omitempty"`
	Nullable  bool   `cbor:"5,keyasint,omitempty"`
	HasLength bool   `cbor:"6,keyasint,omitempty"`
	Length    int64  `cbor:"7,keyasint,omitempty"`
	HasSize   bool   `cbor:"8,keyasint,omitempty"`
	Precision int64  `cbor:"9,keyasint,omitempty"`
	Scale     int64  `cbor:"10,keyasint,omitempty"`
}

// failure answers a request that did not succeed.
type failure struct {
	Seq   uint64    `cbor:"1,keyasint"`
	Token uint64    `cbor:"2,keyasint,omitempty"`
	Error wireError `cbor:"3,keyasint"`
}

// goodbye promises that no request after Seen was started.
type goodbye struct {
	Seen   uint64 `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint,omitempty"`
}

// framer cuts a stream into messages.
type framer interface {
	Write(kind uint8, msg any) error
	Read() (kind uint8, payload []byte, err error)
}

func newFramer(rw io.ReadWriter) framer { return wire.NewConn(rw, maxFrame) }

func decode(payload []byte, msg any) error {
	if err := wire.Unmarshal(payload, msg); err != nil {
		return err
	}
	return nil
}
