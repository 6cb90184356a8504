package console

import (
	"embed"
	"net/http"
)

//go:embed web
var web embed.FS

// pageRoutes adds the page's own files. They hold no data, so they need no token.
func (h *Handler) pageRoutes() {
	for path, file := range map[string]struct{ name, kind string }{
		"GET /{$}":        {"web/index.html", "text/html; charset=utf-8"},
		"GET /app.css":    {"web/app.css", "text/css; charset=utf-8"},
		"GET /app.js":     {"web/app.js", "text/javascript; charset=utf-8"},
		"GET /core.js":    {"web/core.js", "text/javascript; charset=utf-8"},
		"GET /cluster.js": {"web/cluster.js", "text/javascript; charset=utf-8"},
		"GET /sql.js":     {"web/sql.js", "text/javascript; charset=utf-8"},
		"GET /data.js":    {"web/data.js", "text/javascript; charset=utf-8"},
		"GET /table.js":   {"web/table.js", "text/javascript; charset=utf-8"},
		"GET /icon.svg":   {"web/icon.svg", "image/svg+xml"},
	} {
		h.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { sendFile(w, file.name, file.kind) })
	}
}

func (h *Handler) openAPI(w http.ResponseWriter, r *http.Request) {
	sendFile(w, "web/openapi.json", "application/json")
}

func sendFile(w http.ResponseWriter, name, kind string) {
	b, err := web.ReadFile(name)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the page is not in this program")
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b)
}
