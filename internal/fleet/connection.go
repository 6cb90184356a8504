package fleet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/wire"
)

// Connection is a follower's, as the master has it.
type Connection struct {
	session *wire.Session
	stream  net.Conn
	w       *wire.Conn
	wmu     sync.Mutex // wire.Conn takes one writer at a time: entries, beats and verdicts take turns
	address string
	proved  []byte                  // the key that the follower has proved
	queue   string                  // of a snap: link.QueueName
	left    uint64                  // of a snap: the last batch that had left its queue when it connected
	cancel  context.CancelCauseFunc // nil until the streams are open
	ended   error                   // why it is not to begin
	of      *Sender
	node    int64 // of a snap: the small number that it knows of
}

// Queue names the queue of the snap whose connection it is.
func (l *Connection) Queue() string { return l.queue }

// Left returns the number of the last batch that had left the snap's queue when it connected.
func (l *Connection) Left() uint64 { return l.left }

// ID is that of the follower.
func (l *Connection) ID() string { return l.of.ID }

// KeepsWaiting tells that it is this node which makes the follower wait: it counts as heard.
func (l *Connection) KeepsWaiting() {
	l.of.mu.Lock()
	l.of.heard = time.Now()
	l.of.mu.Unlock()
}

// Write sends the follower a message. It may be called from several goroutines.
func (l *Connection) Write(kind uint8, msg any) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	return l.w.Write(kind, msg)
}

// Close ends the connection for that reason. It does not wait.
func (l *Connection) Close(err error) {
	if l.cancel != nil {
		l.cancel(err)
	}
}

// begun reads the follower's first message on its stream.
func (l *Connection) begun() (*link.Cursor, error) {
	kind, payload, err := l.w.Read()
	if err != nil {
		return nil, err
	}
	if kind != link.MsgFollow {
		return nil, fmt.Errorf("message of kind %d before the first", kind)
	}
	b, err := wire.DecodeChecked[link.Begin](payload)
	return b.Cursor, err
}
