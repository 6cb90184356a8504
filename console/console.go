package console

import (
	"context"
	"net/http"
	"sync"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Handler is the console of one node: an http.Handler with the page, the API, health and metrics. It
// may be mounted below a path with http.StripPrefix.
type Handler struct {
	c        *ddb.Cluster
	opts     Options
	class    sqlclass.Dialect
	means    func(error) dialect.Fault // what an error of the cluster's databases means
	mux      *http.ServeMux
	cross    *http.CrossOriginProtection
	metrics  http.Handler
	sessions sessions
	failures failures
	log      statementLog
	observer *observer
	running  chan struct{} // one token per request whose statements run
	large    chan struct{} // one token per large answer in the making
	streams  chan struct{} // one token per client that follows the events
	patience patience

	once    sync.Once
	closing chan struct{} // closed when long answers must end
	stop    context.CancelFunc
	tasks   sync.WaitGroup
}

// New returns a console for the cluster. The caller closes it before the cluster.
func New(c *ddb.Cluster, opts Options) (*Handler, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handler{
		c: c, opts: o, class: sqlclass.SQLite, means: c.Fault, cross: http.NewCrossOriginProtection(),
		observer: newObserver(c, o.Sample),
		running:  make(chan struct{}, o.MaxStatements),
		large:    make(chan struct{}, largeAnswers),
		streams:  make(chan struct{}, o.MaxStreams),
		closing:  make(chan struct{}),
		patience: usualPatience,
	}
	if c.Dialect() == sqlclass.MySQL.String() {
		h.class = sqlclass.MySQL
	}
	h.log.size = o.LogSize
	h.failures.log = o.Logger
	h.metrics = newMetrics(c)
	h.routes()
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.tasks.Go(func() { h.observer.run(ctx) })
	return h, nil
}

// Close ends the streams and waits for the console's own work. It does not close the cluster.
func (h *Handler) Close() error {
	h.endStreams()
	h.stop()
	h.tasks.Wait()
	h.failures.end()
	return nil
}

func (h *Handler) endStreams() { h.once.Do(func() { close(h.closing) }) }

// routes says who may ask for what. The health endpoints and the page's own files are for everybody.
func (h *Handler) routes() {
	h.mux = http.NewServeMux()
	h.healthRoutes()
	h.pageRoutes()
	h.mux.HandleFunc("POST /api/login", h.login)
	h.mux.HandleFunc("POST /api/logout", h.logout)
	h.mux.HandleFunc("GET /api/openapi.json", h.openAPI)
	for pattern, route := range map[string]struct {
		need  Access
		serve http.HandlerFunc
	}{
		"GET /metrics":             {Read, h.metrics.ServeHTTP},
		"GET /api/session":         {Read, h.session},
		"GET /api/status":          {Read, h.status},
		"GET /api/events":          {Read, h.events},
		"GET /api/history":         {Read, h.history},
		"GET /api/tables":          {Read, h.tables},
		"GET /api/rows":            {Read, h.rows},
		"GET /api/journal":         {Read, h.journal},
		"GET /api/log":             {Read, h.statements},
		"POST /api/sql":            {Read, h.sql},
		"POST /api/split":          {Read, h.split},
		"GET /api/conflicts":       {Read, h.conflicts},
		"POST /api/conflicts/{id}": {Write, h.settleConflict},
		"POST /api/nodes/{id}":     {Admin, h.setNode},
		"DELETE /api/nodes/{id}":   {Admin, h.forgetNode},
		"GET /api/export.sql":      {Admin, h.export},
		"POST /api/import":         {Admin, h.importFile},
	} {
		h.mux.HandleFunc(pattern, h.guard(route.need, route.serve))
	}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	if err := h.cross.Check(r); err != nil {
		fail(w, http.StatusForbidden, "writes from another origin are refused")
		return
	}
	h.mux.ServeHTTP(w, r)
}
