package console

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// A .sql file gives statements or an error, whatever is in it: no statement is longer than the limit, and nothing is read twice.
func FuzzStatementReader(f *testing.F) {
	for _, text := range []string{"INSERT INTO t VALUES ('a;b');\nSELECT 1", "DELIMITER ;;\nCREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN SELECT 1; END;;\nDELIMITER ;\n",
		"CREATE TRIGGER t AFTER INSERT ON x BEGIN\n SELECT 1;\nEND;\n", "/*!50003 SET a=1 */;\n-- remark;\n", "/*M!999999\\- enable the sandbox mode */\nSELECT 1;", "'\\';", "[a;", "/*", "DELIMITER x\nx\nx", "\x1f\x8b\x08"} {
		f.Add([]byte(text))
	}
	const limit = 1 << 12
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, d := range []sqlclass.Dialect{sqlclass.SQLite, sqlclass.MySQL} {
			in, err := unpack(bytes.NewReader(text))
			if err != nil {
				continue
			}
			r := newStatementReader(d, &cappedReader{in, 1 << 16}, limit)
			total := 0
			for {
				st, err := r.next()
				if err != nil {
					break
				}
				if total += len(st.SQL); len(st.SQL) > limit || total > int(r.read) {
					t.Fatalf("%d bytes of statements, the last with %d, in %d bytes", total, len(st.SQL), r.read)
				}
			}
		}
	})
}

// No body of a request ends in anything but an answer. SQL is only parsed here.
func FuzzBody(f *testing.F) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(f.TempDir(), "c.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	c, err := ddb.Open(context.Background(), db, ddb.Options{ID: "master"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	h, err := New(c, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	for i, body := range []string{`{"sql":"SELECT ?","args":[{"base64":"AQ=="}],"consistency":"2s"}`, `{"sql":"SELECT 1; SELECT 2","maxRows":-1,"explain":true}`, `{"sql":"'"}`,
		`{"action":"retry"}`, `{"maintenance":null}`, `{"maintenance":true}`, `null`, `[]`, `{"args":[1e999,[],{"base64":1},18446744073709551616],"sql":"SELECT 1"}`} {
		f.Add(uint8(i), body, "id")
	}
	f.Fuzz(func(t *testing.T, route uint8, body, id string) {
		answer := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		request.SetPathValue("id", id)
		switch route % 4 {
		case 0:
			var in sqlRequest
			if !readJSON(answer, request, 1<<12, &in) {
				break
			}
			list, err := h.parse(&in)
			if err == nil && len(list) == 0 {
				t.Error("no statement and no error")
			}
			_, _ = in.context(t.Context())
			_, _ = io.WriteString(answer, "parsed")
		case 1:
			h.split(answer, request)
		case 2:
			h.settleConflict(answer, request)
		case 3:
			h.setNode(answer, request)
		}
		if answer.Body.Len() == 0 {
			t.Error("no answer")
		}
	})
}
