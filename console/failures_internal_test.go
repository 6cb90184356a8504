package console

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// door is a console's entrance without a cluster behind it.
type door struct {
	h   *Handler
	log lockedBuffer
}

// lockedBuffer is a log that a timer's goroutine writes to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newDoor() *door {
	d := &door{}
	d.h = &Handler{opts: Options{Tokens: map[string]Access{"the right token": Read}}}
	d.h.failures.log = hclog.New(&hclog.LoggerOptions{Output: &d.log})
	return d
}

// knock sends a token in the way named, and returns the status.
func (d *door) knock(way, from, token string) int {
	w := httptest.NewRecorder()
	switch way {
	case "header":
		r := httptest.NewRequest("GET", "/api/status", nil)
		r.RemoteAddr = from
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("X-Forwarded-For", "192.0.2."+fmt.Sprint(len(token))) // which nobody believes
		d.h.guard(Read, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })(w, r)
	case "form":
		r := httptest.NewRequest("POST", "/api/login", strings.NewReader(fmt.Sprintf(`{"token": %q}`, token)))
		r.RemoteAddr = from
		d.h.login(w, r)
	}
	return w.Code
}

// Whoever sends wrong tokens is not heard for the rest of a minute, by whichever way; everybody else is.
func TestWrongTokens(t *testing.T) {
	for _, c := range []struct{ name, from, same, other string }{
		{"IPv4", "203.0.113.7:1000", "203.0.113.7:2000", "203.0.113.8:1000"},
		{"IPv6", "[2001:db8:1:2::1]:1000", "[2001:db8:1:2:ffff::9]:1000", "[2001:db8:1:3::1]:1000"},
		{"IPv4 in IPv6", "[::ffff:203.0.113.7]:1000", "203.0.113.7:1000", "[::ffff:203.0.113.8]:1000"},
	} {
		for _, way := range []string{"header", "form"} {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDoor()
					for i := range maxFailures {
						require.Equal(t, 401, d.knock(way, c.from, fmt.Sprint("wrong", i)))
					}
					for _, next := range []string{"header", "form"} {
						require.Equal(t, 429, d.knock(next, c.same, "the right token"), "one address, by the %s", next)
						require.Equal(t, 200, d.knock(next, c.other, "the right token"), "another address, by the %s", next)
					}
					time.Sleep(failureSpan)
					synctest.Wait()
					require.Equal(t, 200, d.knock(way, c.same, "the right token"))
				})
			})
		}
	}
}

// A minute of wrong tokens is one line of the log, with their number and none of them.
func TestWrongTokensLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		for i := range 20 {
			d.knock("header", "203.0.113.7:1000", "secret-guess")
			if i%4 == 0 {
				d.knock("form", "203.0.113.8:1000", "secret-guess")
			}
		}
		require.Empty(t, d.log.String())
		time.Sleep(failureSpan)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(d.log.String(), "\n"), d.log.String())
		require.Contains(t, d.log.String(), "count=25 addresses=2 most=203.0.113.7/32")
		time.Sleep(10 * failureSpan)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(d.log.String(), "\n"), "nothing has happened since")
		d.knock("header", "203.0.113.7:1000", "secret-guess")
		d.h.failures.end() // as Close does
		require.Equal(t, 2, strings.Count(d.log.String(), "\n"))
		require.NotContains(t, d.log.String(), "secret")
	})
}

// A flood from more addresses than are remembered takes no more room, and shuts nobody out.
func TestWrongTokensBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		for i := range 3 * maxAddresses {
			d.h.failures.add(source(&http.Request{RemoteAddr: fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>16, i&0xffff)}))
		}
		require.Len(t, d.h.failures.count, maxAddresses)
		require.Equal(t, 200, d.knock("header", "203.0.113.7:1", "the right token"))
		d.h.failures.end()
	})
}
