package crashtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// child is a process of the program in child.
type child struct {
	t     *testing.T
	id    string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *tail
	said  chan string   // "ready", "quiet", "drained", "level"; room for all that a process says
	done  chan struct{} // closed when its stdout has ended and it is gone
	once  sync.Once
}

func startChild(t *testing.T, id, binary string, args []string, l *ledger) *child {
	t.Helper()
	c := &child{t: t, id: id, cmd: exec.Command(binary, args...), log: &tail{}, said: make(chan string, 8), done: make(chan struct{})}
	c.cmd.Stderr = c.log
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go func() {
		defer close(c.done)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			c.heard(in.Text(), l)
		}
		c.cmd.Wait() // it was killed: the error says so
	}()
	t.Cleanup(c.kill)
	return c
}

// heard takes one line of the child's report.
func (c *child) heard(line string, l *ledger) {
	switch line {
	case "ready", "quiet", "drained", "level":
		c.said <- line
	default:
		if err := l.note(line); err != nil {
			c.t.Errorf("%s: %v\nits log ends with:\n%s", c.id, err, c.log)
		}
	}
}

// kill ends the process with SIGKILL and returns when everything it said is in the ledger.
func (c *child) kill() {
	c.once.Do(func() {
		c.cmd.Process.Kill() // fails only if it has ended
		<-c.done
		c.stdin.Close()
	})
}

// tell gives the child an order.
func (c *child) tell(order string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.stdin, order)
	require.NoError(c.t, err, "%s takes no orders; its log ends with:\n%s", c.id, c.log)
}

// wait waits until the child has said the word.
func (c *child) wait(word string) {
	c.t.Helper()
	limit := time.NewTimer(readyLimit)
	defer limit.Stop()
	select {
	case got := <-c.said:
		require.Equal(c.t, word, got)
	case <-c.done:
		require.Fail(c.t, "the process has ended", "%s, before it said %q; its log ends with:\n%s", c.id, word, c.log)
	case <-limit.C:
		require.Fail(c.t, "no answer", "%s did not say %q within %v; its log ends with:\n%s", c.id, word, readyLimit, c.log)
	}
}

// tail keeps the end of a log.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailBytes = 8 << 10

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.buf.Len() > 2*tailBytes {
		w.buf.Next(w.buf.Len() - tailBytes)
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(w.buf.String())
}

// freeAddress returns an address that is free now and that no outgoing connection will take
// while the master is dead: its port lies below those that Linux gives to them.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(9000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}
