package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	driver "github.com/go-sql-driver/mysql"
)

// Only what refuses LOAD DATA itself makes ddb do without: an error of the rows, of the
// transaction or of the connection stays one.
func TestRefusesLoad(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&driver.MySQLError{Number: erLoadMaria}, true},
		{&driver.MySQLError{Number: erLocalFilesMySQL}, true},
		{&driver.MySQLError{Number: erNotAllowed}, true},
		{&driver.MySQLError{Number: erUnknownCommand}, true},
		{errors.New("reader 'ddb1' is not registered"), true},
		{&driver.MySQLError{Number: 1213}, false},
		{&driver.MySQLError{Number: 1205}, false},
		{&driver.MySQLError{Number: lang.ErNoSuchTable}, false},
		{fmt.Errorf("x: %w", driver.ErrInvalidConn), false},
		{context.Canceled, false},
	} {
		if got := refusesLoad(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// The stream is the same however it is read.
func TestLoadStream(t *testing.T) {
	stream := func() io.Reader {
		s := &loadStream{columns: make([]codec.Column, 3)}
		for i := range int64(3000) {
			s.rows = append(s.rows, dialect.Row{Values: []any{i, nil, "\\a\tb\nc\x00"}})
		}
		return s
	}
	whole, err := io.ReadAll(stream())
	if err != nil {
		t.Fatal(err)
	}
	bytewise, err := io.ReadAll(iotest.OneByteReader(stream()))
	if err != nil || !bytes.Equal(whole, bytewise) {
		t.Errorf("%d bytes read at once, %d singly, %v", len(whole), len(bytewise), err)
	}
	if first, _, _ := bytes.Cut(whole, []byte("\n")); string(first) != "0\t\\N\t\\\\a\\tb\\nc\x00" {
		t.Errorf("the first line is %q", first)
	}
}
