package testdb

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one run of mariadbd. Its goroutine starts it and waits for it.
type process struct {
	pid     int
	os      *os.Process
	logFile string
	logFrom int64 // where this run's part of the log begins

	done chan struct{} // closed when the program has ended
	exit error         // how it ended; read it after done
}

// startProcess runs a program with its output appended to logFile.
func startProcess(program string, args []string, logFile string) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the program has its own copy
	end, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out // files, so that exec starts no goroutine
	cmd.SysProcAttr = dieWithParent()
	p := &process{logFile: logFile, logFrom: end, done: make(chan struct{})}
	started := make(chan error, 1) // room for one: the goroutine never blocks on it
	go p.run(cmd, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run owns cmd. It keeps its thread because Linux ties the death signal to the
// thread that started the child, not to the process.
func (p *process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.os, p.pid = cmd.Process, cmd.Process.Pid
	started <- nil
	p.exit = cmd.Wait()
	if p.exit == nil {
		p.exit = fmt.Errorf("exit status 0")
	}
	close(p.done)
}

// running is false for nil.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill returns when the program is gone.
func (p *process) kill() {
	p.os.Kill() // fails only if it has ended
	<-p.done
}

// stop asks the program to end, kills it after the timeout and returns when it
// is gone.
func (p *process) stop(timeout time.Duration) {
	p.os.Signal(syscall.SIGTERM) // fails only if it has ended
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
	}
}

// log returns the end of what this run has written.
func (p *process) log() string { return tail(p.logFile, p.logFrom) }

// tail returns the last logTailBytes of a file, of what stands after offset.
func tail(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	offset = max(offset, size-logTailBytes)
	b, err := io.ReadAll(io.NewSectionReader(f, offset, size-offset))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
