package remote

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/remedy"
)

// Errors of the client.
var (
	// ErrUnknownOutcome means that the link was lost between a request and its
	// answer. It is never retried by database/sql, because the statement might
	// run twice. Outside a transaction the caller must look; inside one,
	// everything but the commit itself was rolled back.
	ErrUnknownOutcome = errors.New("the link broke before the answer arrived: the statement may or may not have run")

	// ErrBusy means that a statement was sent while rows of an earlier query on
	// the same transaction or connection were still open.
	ErrBusy = errors.New("rows of an earlier query are still open on this connection: read them to the end or close them first")

	// ErrTooLarge means that a statement, its arguments or a row exceed what
	// one message may carry.
	ErrTooLarge = errors.New("too large for one message")
)

// Errors of the server, which errors.Is finds on the client too.
var (
	// ErrReadOnly refuses a write or a read-write transaction on a stream that
	// was served with ReadOnly.
	ErrReadOnly = errors.New("this connection is read-only: send writes to the master, and open transactions with sql.TxOptions{ReadOnly: true}")

	// ErrServerClosed means that the server stopped while the statement ran.
	ErrServerClosed = errors.New("the server is shutting down")
)

// Error is a database error with a numeric code, such as SQLite's extended
// result code, that came from the other end of the stream. Errors that an
// ErrorCarrier knows arrive as its own instead.
type Error struct {
	Number  int
	Message string
}

func (e *Error) Error() string { return e.Message }

// Code returns the number, by the name under which the driver's own error has it.
func (e *Error) Code() int { return e.Number }

// ErrorCarrier knows a driver's own type of errors.
type ErrorCarrier interface {
	// CarryError returns what makes the error anew; ok is false for one of another type.
	CarryError(err error) (number uint16, state, message string, ok bool)
	// RestoreError makes it from a number that is not 0.
	RestoreError(number uint16, state, message string) error
}

var registry = struct {
	sync.RWMutex
	errs  map[string]error
	codes []string // in the order of registration
}{errs: make(map[string]error)}

func init() {
	RegisterError("context.canceled", context.Canceled)
	RegisterError("context.deadline", context.DeadlineExceeded)
	RegisterError("sql.no_rows", sql.ErrNoRows)
	RegisterError("sql.tx_done", sql.ErrTxDone)
	RegisterError("sql.conn_done", sql.ErrConnDone)
	RegisterError("driver.bad_conn", driver.ErrBadConn)
	RegisterError("remote.unknown_outcome", ErrUnknownOutcome)
	RegisterError("remote.too_large", ErrTooLarge)
	RegisterError("remote.read_only", ErrReadOnly)
	RegisterError("remote.server_closed", ErrServerClosed)
}

// RegisterError lets errors.Is find err, a sentinel, on the client when the
// server's error wraps it. Both sides must register the same code, usually in
// an init function. It panics if the code is taken by another error.
func RegisterError(code string, err error) {
	registry.Lock()
	defer registry.Unlock()
	if old, ok := registry.errs[code]; ok {
		if old == err {
			return
		}
		panic(fmt.Sprintf("remote: RegisterError called twice for code %q", code))
	}
	registry.errs[code] = err
	registry.codes = append(registry.codes, code)
}

// wireError is an error on its way: its text, the registered sentinels found in
// it and the database's own number: one that an ErrorCarrier knows, or a Code.
type wireError struct {
	Text     string   `cbor:"1,keyasint"`
	Codes    []string `cbor:"2,keyasint,omitempty"`
	Number   uint16   `cbor:"3,keyasint,omitempty"`
	SQLState string   `cbor:"4,keyasint,omitempty"`
	HasCode  bool     `cbor:"5,keyasint,omitempty"`
	Code     int64    `cbor:"6,keyasint,omitempty"`
	Message  string   `cbor:"7,keyasint,omitempty"` // the database's, without what wraps it

	Remedies []remedy.Remedy `cbor:"8,keyasint,omitempty"` // Text names them
}

// maxRemedies is how many remedies of an error are believed.
const maxRemedies = 8

// newWireError takes an error apart; carrier may be nil.
func newWireError(err error, carrier ErrorCarrier) wireError {
	w := wireError{Text: fault.Plain(err), Remedies: remedy.Of(err)}
	carried := false
	if carrier != nil {
		w.Number, w.SQLState, w.Message, carried = carrier.CarryError(err)
	}
	var coded interface{ Code() int }
	if !carried && errors.As(err, &coded) {
		w.HasCode, w.Code, w.Message = true, int64(coded.Code()), w.Text
		if e, ok := coded.(error); ok {
			w.Message = e.Error()
		}
	}
	registry.RLock()
	defer registry.RUnlock()
	for _, code := range registry.codes {
		if errors.Is(err, registry.errs[code]) {
			w.Codes = append(w.Codes, code)
		}
	}
	return w
}

// serverError is an error that came over the stream.
type serverError struct {
	text  string
	wraps []error
}

func (e *serverError) Error() string   { return e.text }
func (e *serverError) Unwrap() []error { return e.wraps }

// err rebuilds the error. One that consists of nothing but a database error or
// a sentinel comes back as just that, so that comparing with == works as well.
// carrier may be nil.
func (w wireError) err(carrier ErrorCarrier) error {
	var wraps []error
	switch {
	case w.Number != 0 && carrier != nil:
		wraps = append(wraps, carrier.RestoreError(w.Number, w.SQLState, w.Message))
	case w.Number != 0:
		wraps = append(wraps, &Error{Number: int(w.Number), Message: w.Message})
	case w.HasCode:
		wraps = append(wraps, &Error{Number: int(w.Code), Message: w.Message})
	}
	registry.RLock()
	for _, code := range w.Codes {
		if err, ok := registry.errs[code]; ok {
			wraps = append(wraps, err)
		}
	}
	registry.RUnlock()
	if n := min(len(w.Remedies), maxRemedies); n > 0 {
		var kind error
		if len(wraps) > 0 {
			kind = wraps[len(wraps)-1]
		}
		wraps = append(wraps, remedy.Parse(kind, w.Text, w.Remedies[:n]))
	}
	if len(wraps) == 1 && wraps[0].Error() == w.Text {
		return wraps[0]
	}
	return &serverError{text: w.Text, wraps: wraps}
}
