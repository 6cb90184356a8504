package console_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/console"
)

// lines is where a logger writes, and what tells a test that a line has come.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) have(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// Clients that do not send their request, or do not take their answer, are cut, whatever part they stop at.
func TestSlowClients(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	h.exec("CREATE TABLE big (id INTEGER PRIMARY KEY, b BLOB)")
	for i := range 24 {
		h.exec("INSERT INTO big VALUES (?, randomblob(1000000))", i)
	}
	log := &lines{}
	slow, err := console.New(h.master, console.Options{Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	require.NoError(t, err)
	t.Cleanup(func() { slow.Close() })
	slow.Hurry(50 * time.Millisecond)
	ln, err := console.Listen("127.0.0.1:0", slow)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- console.ServeListener(ctx, ln, slow) }()
	dial := func(text string) net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = fmt.Fprint(c, text)
		require.NoError(t, err)
		return c
	}
	for name, text := range map[string]string{
		"head":   "GET /api/status HTTP/1.1\r\nHost: local",
		"body":   "POST /api/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"sql\": ",
		"import": "POST /api/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nSELECT 1;",
	} {
		answer, err := io.ReadAll(dial(text)) // ends because the server ends it
		if err == nil {
			require.NotContains(t, string(answer), "200 OK", name)
		}
	}
	c := dial("GET /api/export.sql HTTP/1.1\r\nHost: localhost\r\n\r\n")
	wait(t, "the end of the export that nobody takes", func() bool { return log.have("an export has broken off") })
	part, _ := io.ReadAll(c)
	require.Less(t, len(part), 48_000_000) // the hexadecimal text of all
	stop()
	require.NoError(t, <-ended)
}
