// Package examples holds the tests of the example programs: scripts in testdata run them
// as a person would.
package examples

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ddb-project/ddb/internal/testdb"
)

// patience is how long a program may take to answer.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // as nearly everywhere, so that what is private is so by ddb's doing
	testdb.Main(m)
}

// Every program does in SQLite what its -h says, names the flag to change when it cannot, and stops in
// good order.
func TestScripts(t *testing.T) {
	bin := build(t)
	testscript.Run(t, testscript.Params{
		Files:               scripts(t, "sqlite"),
		Setup:               func(e *testscript.Env) error { return setup(e, bin) },
		Cmds:                commands,
		RequireExplicitExec: true,
	})
}

// So it does on MariaDB, and the password is shown nowhere.
func TestScriptsMariaDB(t *testing.T) {
	s := testdb.SharedMariaDB(t)
	name := s.NewDatabase(t)
	bin := build(t)
	testscript.Run(t, testscript.Params{
		Files: scripts(t, "mariadb"),
		Setup: func(e *testscript.Env) error {
			u, err := url.Parse(s.URL(name))
			if err != nil {
				return err
			}
			e.Setenv("PASSWORD", s.Password())
			e.Setenv("DB_USER", s.User())
			e.Setenv("DB_HOST", u.Host)
			e.Setenv("DB_NAME", name)
			return setup(e, bin)
		},
		Cmds:                commands,
		RequireExplicitExec: true,
	})
}

// build makes the programs once for a test.
func build(t *testing.T) (dir string) {
	dir = t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir, "./master", "./replica", "./snap", "./demo").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

func scripts(t *testing.T, folder string) []string {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata/%s: %v", folder, err)
	}
	return files
}

// setup puts the programs into PATH, and into the environment a few free addresses and one
// that is taken.
func setup(e *testscript.Env, bin string) error {
	e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e.Defer(func() { taken.Close() })
	e.Setenv("TAKEN", taken.Addr().String())
	for _, name := range []string{"LISTEN", "HTTP", "HTTP2"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		e.Setenv(name, l.Addr().String())
		defer l.Close() // all are held until each has another
	}
	return writeCertificates(e.WorkDir)
}

// writeCertificates writes the commands of docs/security.md that make keys and certificates, for this machine, as make.sh.
func writeCertificates(dir string) error {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		return err
	}
	block := regexp.MustCompile("(?s)```sh\n([^`]*openssl req.*?)```").FindSubmatch(page)
	if block == nil {
		return errors.New("docs/security.md: no block of commands makes certificates")
	}
	text := "set -e\n" + strings.ReplaceAll(string(block[1]), "10.0.0.1", "127.0.0.1")
	return os.WriteFile(filepath.Join(dir, "make.sh"), []byte(text), 0o600)
}

// commands are those that the scripts have beside testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){"get": get, "logged": logged, "private": private, "terminate": terminate}

// private PATH... checks that files, and folders with all that is in them, are there for their owner alone.
func private(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: private PATH...")
	}
	for _, arg := range args {
		ts.Check(filepath.WalkDir(ts.MkAbs(arg), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				err = fmt.Errorf("others may use %s: %v", path, info.Mode())
			}
			return err
		}))
	}
}

// terminate sends SIGTERM to all programs that run in the background.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// logged FILE PATTERN waits until a program has written to the file what matches.
func logged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logged FILE PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	var text []byte
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0])) // not there yet
		if pattern.Match(text) {
			return
		}
	}
	ts.Fatalf("%s never matches %q: %s", args[0], args[1], text)
}

// get URL PATTERN waits until the URL answers 200 with a body that matches.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get URL PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	last := "no answer"
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		body, err := fetch(args[0])
		if err == nil && pattern.MatchString(body) {
			return
		}
		if last = body; err != nil {
			last = err.Error()
		}
	}
	ts.Fatalf("%s does not answer with %q: %s", args[0], args[1], strings.TrimSpace(last))
}

func fetch(url string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), err
}
