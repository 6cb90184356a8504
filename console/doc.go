// Package console shows a ddb cluster to people and programs: a page that follows the
// nodes live and runs SQL, a JSON API, the health endpoints that load balancers ask, metrics for
// Prometheus, and export and import of the whole database as one .sql file.
//
// A program mounts the Handler wherever it likes, or lets Serve listen:
//
//	h, err := console.New(cluster, console.Options{Token: os.Getenv("DDB_TOKEN")})
//	...
//	defer h.Close()
//	err = console.Serve(ctx, "127.0.0.1:8080", h)
//
// The page and its script are embedded and ask no other host for anything. docs/api.md
// describes the API, and /api/openapi.json does for programs.
package console
