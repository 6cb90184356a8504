package remote

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ddb-project/ddb/remedy"
	"github.com/go-sql-driver/mysql"

	own "github.com/ddb-project/ddb/internal/mysql"
)

type codedError int

func (e codedError) Error() string { return fmt.Sprintf("code %d", int(e)) }
func (e codedError) Code() int     { return int(e) }

// Errors keep their text, their number and the sentinels in them.
func TestErrorsCrossTheWire(t *testing.T) {
	duplicate := &mysql.MySQLError{Number: 1062, SQLState: [5]byte{'2', '3', '0', '0', '0'}, Message: "Duplicate entry"}
	cross := func(err error) error { return newWireError(err, own.Dialect{}).err(own.Dialect{}) }

	if got, ok := cross(duplicate).(*mysql.MySQLError); !ok || *got != *duplicate {
		t.Errorf("a bare MySQL error became %#v", got)
	}
	wrapped := fmt.Errorf("outer: %w: %w", duplicate, context.DeadlineExceeded)
	got := cross(wrapped)
	var my *mysql.MySQLError
	if got.Error() != wrapped.Error() || !errors.As(got, &my) || my.Number != 1062 || !errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", got, wrapped)
	}
	var coded interface {
		error
		Code() int
	}
	if got := cross(cross(fmt.Errorf("outer: %w", codedError(2067)))); !errors.As(got, &coded) || coded.Code() != 2067 || coded.Error() != "code 2067" {
		t.Errorf("got %#v", got)
	}
	var bare *Error // without a carrier the number crosses all the same
	if got := newWireError(duplicate, own.Dialect{}).err(nil); !errors.As(got, &bare) || bare.Number != 1062 || got.Error() != duplicate.Error() {
		t.Errorf("without a carrier %v became %#v", duplicate, got)
	}
	if got := cross(context.Canceled); got != context.Canceled {
		t.Errorf("a bare sentinel became %#v", got)
	}
	helped := fmt.Errorf("exec: %w", remedy.New(ErrReadOnly, "no", remedy.Remedy{Action: remedy.Begin, Text: "use Begin"}))
	if got := cross(cross(helped)); got.Error() != helped.Error() || !errors.Is(got, ErrReadOnly) || len(remedy.Of(got)) != 1 || remedy.Of(got)[0].Action != remedy.Begin {
		t.Errorf("got %v with the remedies %v, want %v", got, remedy.Of(got), helped)
	}
	if got := remedy.Words(cross(helped), func(remedy.Remedy) string { return "wait" }); !strings.HasSuffix(got, ": no; wait") {
		t.Errorf("got %q in other words", got)
	}
	if got := cross(errors.New("plain")); got.Error() != "plain" || errors.Is(got, driver.ErrBadConn) {
		t.Errorf("got %v", got)
	}
}

// A code names one error.
func TestRegisterErrorTwice(t *testing.T) {
	RegisterError("context.canceled", context.Canceled) // again is harmless
	defer func() {
		if recover() == nil {
			t.Error("another error under the same code did not panic")
		}
	}()
	RegisterError("context.canceled", errors.New("other"))
}
