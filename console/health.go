package console

import (
	"context"
	"net/http"
	"time"

	"github.com/ddb-project/ddb"
)

// healthTimeout limits the question to the local database behind a health check.
const healthTimeout = 2 * time.Second

// self returns this node as the cluster sees it.
func (h *Handler) self() ddb.NodeStatus {
	list := h.c.Nodes()
	for _, n := range list {
		if n.Local {
			return n
		}
	}
	if len(list) > 0 {
		return list[0] // of a Cluster made by Wrap: the master
	}
	return ddb.NodeStatus{ID: h.c.ID(), Role: h.c.Role(), State: ddb.Inactive, Lag: ddb.LagUnknown}
}

// healthRoutes adds the endpoints that load balancers ask, in Patroni's words
// (patroni.readthedocs.io, "Patroni REST API"). They need no token and tell no secret.
func (h *Handler) healthRoutes() {
	checks := map[string]func(ddb.NodeStatus, time.Duration) bool{
		"/primary":    isPrimary,
		"/leader":     isPrimary,
		"/read-write": isPrimary,
		"/replica":    isReplica,
		"/read-only":  readable,
		"/readiness":  readable,
		"/health":     readable,
	}
	for path, check := range checks {
		serve := func(w http.ResponseWriter, r *http.Request) { h.health(w, r, check) }
		h.mux.HandleFunc("GET "+path, serve) // and HEAD
		h.mux.HandleFunc("OPTIONS "+path, serve)
	}
	h.mux.HandleFunc("GET /liveness", h.liveness)
	h.mux.HandleFunc("OPTIONS /liveness", h.liveness)
}

func isPrimary(n ddb.NodeStatus, _ time.Duration) bool { return n.Role == ddb.Master }

// isReplica takes lag limits below zero for "as the cluster judges it".
func isReplica(n ddb.NodeStatus, lag time.Duration) bool {
	if n.Role == ddb.Master || n.Maintenance {
		return false
	}
	if lag >= 0 && (n.Lag == ddb.LagUnknown || n.Lag > lag) {
		return false
	}
	return n.State == ddb.Active || n.State == ddb.Lagging && lag >= 0
}

func readable(n ddb.NodeStatus, lag time.Duration) bool {
	return isPrimary(n, lag) || isReplica(n, lag)
}

// health answers 200 or 503, with the node's status as the body of a GET.
func (h *Handler) health(w http.ResponseWriter, r *http.Request, check func(ddb.NodeStatus, time.Duration) bool) {
	limit := time.Duration(-1)
	if text := r.URL.Query().Get("lag"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil || limit < 0 {
			fail(w, http.StatusBadRequest, "lag must be a duration such as 500ms or 2s")
			return
		}
	}
	n := h.self()
	status := http.StatusServiceUnavailable
	if check(n, limit) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		if h.c.PingLocal(ctx) == nil {
			status = http.StatusOK
		}
	}
	h.tellHealth(w, r, status, n)
}

// liveness answers 200 as long as the process works, whatever it can serve: a restart would not help.
func (h *Handler) liveness(w http.ResponseWriter, r *http.Request) {
	h.tellHealth(w, r, http.StatusOK, h.self())
}

func (h *Handler) tellHealth(w http.ResponseWriter, r *http.Request, status int, n ddb.NodeStatus) {
	if r.Method == http.MethodOptions {
		w.WriteHeader(status)
		return
	}
	reply(w, status, map[string]any{"id": n.ID, "role": n.Role, "state": n.State, "lsn": n.LSN, "lagMs": lagMs(n.Lag)})
}
