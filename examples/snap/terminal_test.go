package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"github.com/stretchr/testify/require"
)

// terminal runs the program in a pseudo-terminal and shows what a person would see.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	done chan struct{} // closed when the program's output has ended

	mu      sync.Mutex // guards what follows
	screen  vt10x.Terminal
	changed chan struct{}
}

func openTerminal(t *testing.T, cmd *exec.Cmd, columns, rows int) *terminal {
	t.Helper()
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)})
	require.NoError(t, err)
	term := &terminal{t: t, cmd: cmd, file: file, done: make(chan struct{}), changed: make(chan struct{}),
		screen: vt10x.New(vt10x.WithSize(columns, rows))}
	go term.read()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended unless the test failed
		<-term.done
		_ = file.Close()
	})
	return term
}

func (x *terminal) read() {
	defer close(x.done)
	var clean cleaner
	buf := make([]byte, 32<<10)
	for {
		n, err := x.file.Read(buf)
		x.mu.Lock()
		_, _ = x.screen.Write(clean.clean(buf[:n])) // it never fails
		close(x.changed)
		x.changed = make(chan struct{})
		x.mu.Unlock()
		if err != nil {
			return // EIO: the program has closed its side
		}
	}
}

// cleaner drops the control sequences with a private marker (CSI < = > and CSI ? ... u or $p), which ask
// about the keyboard and modes: the emulator would take them for others that end in the same letter.
type cleaner struct{ held []byte }

func (c *cleaner) clean(p []byte) []byte {
	var out []byte
	for _, b := range p {
		c.held = append(c.held, b)
		switch {
		case len(c.held) == 1 && b == 0x1b, len(c.held) == 2 && b == '[':
			continue
		case len(c.held) > 2 && (b < 0x40 || b > 0x7e):
			continue
		}
		if len(c.held) > 3 && (strings.IndexByte("<=>", c.held[2]) >= 0 || c.held[2] == '?' && (b == 'u' || b == 'p')) {
			c.held = c.held[:0]
			continue
		}
		out = append(out, c.held...)
		c.held = c.held[:0]
	}
	return out
}

// look returns the lines on the screen, and a channel that is closed when they change.
func (x *terminal) look() (string, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String(), x.changed
}

// sees waits until all the texts are on the screen at once, and returns it.
func (x *terminal) sees(texts ...string) string {
	x.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		screen, changed := x.look()
		missing := ""
		for _, s := range texts {
			if !strings.Contains(screen, s) {
				missing = s
			}
		}
		if missing == "" {
			return screen
		}
		select {
		case <-changed:
		case <-x.done:
			if final, _ := x.look(); final == screen {
				x.t.Fatalf("the program ended without %q on the screen:\n%s", missing, screen)
			}
		case <-limit.C:
			x.t.Fatalf("no %q on the screen:\n%s", missing, screen)
		}
	}
}

// press sends keys.
func (x *terminal) press(keys string) {
	x.t.Helper()
	_, err := x.file.WriteString(keys)
	require.NoError(x.t, err)
}

// The keys as a terminal sends them.
const (
	enter  = "\r"
	escape = "\x1b"
	down   = "\x1b[B"
	end    = "\x1b[F"
	clear  = "\x15" // ctrl+u empties an input
)

// fill types into the field of a form that has the focus, after it has got it, and goes on.
func (x *terminal) fill(name, text string) {
	x.t.Helper()
	x.sees("┃ " + name + " ")
	if text != "" {
		x.press(clear + text)
		x.sees("┃ > " + text)
	}
	x.press(enter)
}

func (x *terminal) resize(columns, rows int) {
	x.t.Helper()
	x.mu.Lock()
	x.screen.Resize(columns, rows)
	x.mu.Unlock()
	require.NoError(x.t, pty.Setsize(x.file, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}))
}

// ended waits for the program and returns its exit status.
func (x *terminal) ended() int {
	x.t.Helper()
	<-x.done
	_ = x.cmd.Wait() // the status says it all
	return x.cmd.ProcessState.ExitCode()
}
