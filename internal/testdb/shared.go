package testdb

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// shared is the server of SharedMariaDB. It is started once: after a failure
// every test that asks gets the same error.
var shared struct {
	sync.Mutex
	server *Server
	err    error
	owned  bool // Main runs and will remove it
}

// SharedMariaDB returns the one server of this test process, started when first
// asked for. Tests take databases of their own by [Server.NewDatabase], and
// neither kill nor reconfigure the server. The package's TestMain must call
// [Main], which removes it.
func SharedMariaDB(tb testing.TB) *Server {
	tb.Helper()
	NotQuick(tb, requireMariaDB, "MariaDB")
	shared.Lock()
	defer shared.Unlock()
	if !shared.owned {
		tb.Fatal("testdb: SharedMariaDB needs a TestMain that calls testdb.Main")
	}
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = StartMariaDB()
	}
	if shared.err != nil {
		skipOrFail(tb, shared.err)
	}
	return shared.server
}

// Main runs the tests of a package, removes the shared server, and fails if
// a goroutine is left; the options are for that last check. It exits the process:
//
//	func TestMain(m *testing.M) { testdb.Main(m) }
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(runner{m}, options...)
}

// runner removes the shared server between the tests and goleak's look.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	shared.Lock()
	shared.owned = true
	shared.Unlock()
	code := r.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return code
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "error log of the shared MariaDB server:\n%s\n", shared.server.ErrorLog())
	}
	if err := shared.server.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, "testdb:", err)
		code = max(code, 1)
	}
	return code
}
