package console

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// ErrNoDump: neither mariadb-dump nor mysqldump is installed, so a MariaDB node cannot be exported.
var ErrNoDump = errors.New("console: neither mariadb-dump nor mysqldump is installed; install Debian's package mariadb-client")

// ExportOptions configure an export. The zero value suits SQLite.
type ExportOptions struct {
	// Server tells how to reach the local MariaDB server. Not used on SQLite.
	Server Server
	// Program is the dump program of MariaDB. Default: mariadb-dump, or mysqldump, from the PATH.
	Program string
	// Progress, if set, is called while the export runs, at most 10 times a second and at the end.
	Progress func(Progress)
}

// Progress tells how far an export or import has come.
type Progress struct {
	Bytes      int64  // of the .sql text
	Rows       int64  // written, as far as known: on MariaDB an export does not count them
	Statements int64  // run by an import
	Table      string // of an export: the table being read
	Done       bool
}

// progressEvery is the least time between two calls of Progress.
const progressEvery = 100 * time.Millisecond

// meter counts and reports.
type meter struct {
	Progress
	report func(Progress)
	last   time.Time
}

func (m *meter) tell(done bool) {
	if now := time.Now(); m.report != nil && (done || now.Sub(m.last) >= progressEvery) {
		m.last, m.Done = now, done
		m.report(m.Progress)
	}
}

// meteredWriter counts what goes through it.
type meteredWriter struct {
	w io.Writer
	m *meter
}

func (w *meteredWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.m.Bytes += int64(n)
	w.m.tell(false)
	return n, err
}

// Export writes this node's whole database, as it stands at one moment, as SQL that the stock
// clients load into an empty one (sqlite3 db < file, mariadb db < file), without anything of ddb's. A
// MariaDB node needs mariadb-dump or mysqldump; without it the error is ErrNoDump.
func Export(ctx context.Context, c *ddb.Cluster, w io.Writer, opts ExportOptions) error {
	m := &meter{report: opts.Progress}
	out := &meteredWriter{w, m}
	var err error
	if c.Dialect() == sqlclass.MySQL.String() {
		err = exportMariaDB(ctx, c, out, opts)
	} else {
		err = exportSQLite(ctx, c, out, m)
	}
	if err != nil {
		return fmt.Errorf("console: export: %w", err)
	}
	m.tell(true)
	return nil
}

// export streams the .sql file. ?gzip=1 gives it as a .gz file; a client that accepts gzip gets it so on the way.
func (h *Handler) export(w http.ResponseWriter, r *http.Request) {
	packed := r.URL.Query().Get("gzip") == "1"
	coded := !packed && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	name, kind := "ddb-"+h.c.ID()+".sql", "application/sql"
	if packed {
		name, kind = name+".gz", "application/gzip"
	}
	out := &lateWriter{w: w, control: http.NewResponseController(w), patience: h.patience.piece, begin: func() {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		w.Header().Set("Vary", "Accept-Encoding")
		if coded {
			w.Header().Set("Content-Encoding", "gzip")
		}
	}}
	var to io.Writer = out
	var zip *gzip.Writer
	if packed || coded {
		zip = gzip.NewWriter(out)
		to = zip
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer h.untilClosing(ctx, cancel)()
	err := Export(ctx, h.c, to, ExportOptions{Server: h.opts.Database})
	if err == nil && zip != nil {
		err = zip.Close()
	}
	switch {
	case err == nil:
	case out.begun:
		h.opts.Logger.Error("an export has broken off", "error", err)
		panic(http.ErrAbortHandler) // so that the client sees that the file is not whole
	case errors.Is(err, ErrNoDump):
		fail(w, http.StatusNotImplemented, err.Error())
	default:
		h.opts.Logger.Error("an export has failed", "error", err)
		status := h.statusOf(err)
		if status == http.StatusBadRequest { // the caller has asked for nothing that could be wrong
			status = http.StatusInternalServerError
		}
		fail(w, hint(w, status), err.Error())
	}
}

// lateWriter keeps the headers back until there is something to send, and gives the
// client a while for each piece.
type lateWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begin   func()
	begun   bool
	// patience is for each piece.
	patience time.Duration
}

func (l *lateWriter) Write(b []byte) (int, error) {
	if !l.begun {
		l.begin()
		l.begun = true
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(l.patience))
	return l.w.Write(b)
}

// untilClosing cancels when the console closes; the caller calls what it returns in the end.
func (h *Handler) untilClosing(ctx context.Context, cancel func()) (end func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-h.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return func() { cancel(); <-done }
}
