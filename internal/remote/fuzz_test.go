package remote

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/ddb-project/ddb/internal/mysql"
	"github.com/ddb-project/ddb/internal/wire"
)

// script is what one side of a stream sends: messages of a kind, a length in two bytes, and the payload.
func script(f *testing.F, messages ...any) []byte {
	var b []byte
	for i := 0; i < len(messages); i += 2 {
		payload, err := wire.Marshal(messages[i+1])
		if err != nil {
			f.Fatal(err)
		}
		b = append(append(b, messages[i].(uint8), byte(len(payload)>>8), byte(len(payload))), payload...)
	}
	return b
}

// play sends the messages of a script, in proper frames, for as long as the other side listens.
func play(conn net.Conn, script []byte) {
	out := wire.NewConn(conn, maxFrame)
	for len(script) >= 3 {
		n := min(int(script[1])<<8|int(script[2]), len(script)-3)
		if out.WritePayload(script[0], script[3:3+n]) != nil {
			return
		}
		script = script[3+n:]
	}
}

// Whatever requests come, the server answers or ends the stream, and gives back what it took.
func FuzzServe(f *testing.F) {
	args, err := appendArgs(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	name, err := appendValue(appendString(nil, "n"), int64(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(script(f, kindQuery, request{Version: 1, Seq: 1, SQL: "SELECT 1", Args: args}))
	f.Add(script(f, kindExec, request{Version: 1, Seq: 1, SQL: "SELECT :n", Args: name, NumArgs: 1}))
	f.Add(script(f, kindExec, request{Version: 1, Seq: 1, SQL: "SELECT ?", Args: []byte{1}, NumArgs: 1 << 30}))
	f.Add(script(f, kindPrepare, request{Version: 1, Seq: 1, SQL: "SELECT 1"}, kindQuery, request{Version: 1, Seq: 2, Stmt: 1, CloseStmts: []uint64{9}}))
	f.Add(script(f, kindBegin, request{Version: 1, Seq: 1, Isolation: -5}, kindCancel, cancel{Seq: 1}, kindCommit, request{Version: 1, Seq: 2}))
	f.Add(script(f, kindRelease, request{}, kindPing, request{Version: 1, Seq: 1}, kindCancel, cancel{Seq: 1, Soft: true}, kindCancel, cancel{Seq: 1, Soft: true}))
	f.Add(script(f, uint8(200), request{Version: 1}))
	db, err := sql.Open("sqlite", "file:"+f.TempDir()+"/f.db?_pragma=query_only(1)")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	check := func(text string) error { // no ATTACH, and no recursion without end
		if text == "SELECT 1" || text == "SELECT :n" || text == "SELECT ?" {
			return nil
		}
		return ErrReadOnly
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		client, server := net.Pipe()
		answers := make(chan struct{})
		go func() {
			defer close(answers)
			_, _ = io.Copy(io.Discard, client)
		}()
		played := make(chan struct{})
		go func() {
			defer close(played)
			play(client, script)
			client.Close()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_ = Serve(ctx, server, db, ServeOptions{Check: check})
		if ctx.Err() != nil {
			t.Error("the server goes on without a client")
		}
		<-answers
		<-played
		if n := db.Stats().InUse; n != 0 {
			t.Errorf("%d connections are still in use", n)
		}
	})
}

// Whatever a server answers, the client gives rows or an error, and no more rows than there are bytes.
func FuzzAnswer(f *testing.F) {
	row, err := appendValue(nil, "text")
	if err != nil {
		f.Fatal(err)
	}
	columns := []column{{Name: "a", Type: "TEXT", Scan: "string", HasLength: true, Length: -1}}
	f.Add(script(f, kindChunk, chunk{Seq: 1, NewSet: true, Columns: columns, Rows: row, NumRows: 1, EndSet: true, Done: true}))
	f.Add(script(f, kindChunk, chunk{Seq: 1, NewSet: true, Columns: columns, Rows: row, NumRows: 1 << 62, EndSet: true, Done: true}))
	f.Add(script(f, kindChunk, chunk{Seq: 1, NewSet: true, NumRows: 1 << 62, EndSet: true, Done: true}))
	f.Add(script(f, kindChunk, chunk{Seq: 1, NewSet: true, Columns: columns, EndSet: true}, kindChunk, chunk{Seq: 1, NewSet: true, EndSet: true, Done: true}))
	f.Add(script(f, kindError, failure{Seq: 1, Error: wireError{Text: "no", Number: 1064, SQLState: "a long state", Codes: []string{"driver.bad_conn"}}}))
	f.Add(script(f, kindError, failure{Seq: 1, Error: wireError{Text: "no", HasCode: true, Code: -1 << 63}}, kindGoodbye, goodbye{Seen: 1 << 63, Reason: "bye"}))
	f.Add(script(f, kindDone, done{Seq: 1}))
	f.Fuzz(func(t *testing.T, script []byte) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer server.Close()
			in := wire.NewConn(server, maxFrame)
			if _, _, err := in.Read(); err == nil {
				heard := make(chan struct{})
				go func() { // what the client says meanwhile
					defer close(heard)
					_, _ = io.Copy(io.Discard, server)
				}()
				play(server, script)
				server.Close()
				<-heard
			}
		}()
		dialed := false
		db := sql.OpenDB(NewConnector(func(context.Context) (net.Conn, error) {
			if dialed {
				return nil, errors.New("once is enough")
			}
			dialed = true
			return client, nil
		}, Options{Errors: mysql.Dialect{}}))
		n := 0
		rows, err := db.Query("SELECT 1")
		for err == nil {
			types, terr := rows.ColumnTypes()
			if terr == nil {
				for _, c := range types {
					c.Length()
					c.DecimalSize()
					c.Nullable()
					_ = c.ScanType()
				}
			}
			for rows.Next() {
				if n++; n > len(script) {
					t.Fatalf("%d rows of %d bytes", n, len(script))
				}
			}
			if !rows.NextResultSet() {
				break
			}
			if n++; n > len(script) {
				t.Fatalf("%d result sets of %d bytes", n, len(script))
			}
		}
		if rows != nil {
			_ = rows.Close()
		}
		_ = db.Close()
		client.Close()
		<-done
	})
}
