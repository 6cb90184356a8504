package console_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// The curl lines of docs/api.md do what the page says: each line of output shown is part of the true one.
func TestDocumentation(t *testing.T) {
	need(t, "curl")
	text, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	onEach(t, func(t *testing.T, e *engine) {
		if e.name == "mariadb" {
			need(t, "mariadb-dump")
		}
		h := build(t, e, console.Options{Token: "token-of-the-documentation"})
		folder := t.TempDir()
		ran := 0
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1) {
			lines := strings.Split(strings.TrimSpace(string(block[1])), "\n")
			for i := 0; i+1 < len(lines); i += 2 {
				want, ok := strings.CutPrefix(lines[i+1], "# ")
				require.True(t, ok, "the line after %q shows no output", lines[i])
				cmd := exec.CommandContext(testContext(t), "sh", "-c", lines[i])
				cmd.Dir = folder
				cmd.Env = append(os.Environ(), "DDB="+h.server.URL, "TOKEN="+h.token)
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s: %s", lines[i], out)
				require.Contains(t, string(out), want, lines[i])
				ran++
			}
		}
		require.Greater(t, ran, 20)
	})
}

// The description of the API for programs names every path that the handler serves, and only such.
func TestOpenAPI(t *testing.T) {
	h := build(t, engines[0], console.Options{})
	h.exec("CREATE TABLE t (id INTEGER PRIMARY KEY)")
	h.follow(ddb.Replica, "r1", nil)
	code, _, body := h.call("GET", "/api/openapi.json", nil)
	require.Equal(t, 200, code)
	var doc struct {
		Paths map[string]map[string]struct{ Summary string }
	}
	require.NoError(t, json.Unmarshal(body, &doc))
	require.Greater(t, len(doc.Paths), 20)
	for path, methods := range doc.Paths {
		for method := range methods {
			if strings.HasSuffix(path, "/events") {
				continue // does not end
			}
			code, _, _ := h.call(strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "x"), nil)
			require.NotEqual(t, 405, code, "%s %s", method, path)
			if !strings.Contains(path, "{id}") && path != "/api/rows" {
				require.NotEqual(t, 404, code, "%s %s", method, path)
			}
		}
	}
	dashboard, err := os.ReadFile("../docs/grafana-dashboard.json")
	require.NoError(t, err)
	var metrics []byte
	wait(t, "the replica's lag", func() bool {
		_, _, metrics = h.call("GET", "/metrics", nil)
		return strings.Contains(string(metrics), `ddb_node_lag_seconds{id="r1"`)
	})
	for _, name := range regexp.MustCompile(`ddb_\w+`).FindAllString(string(dashboard), -1) {
		require.Contains(t, string(metrics), "# TYPE "+name+" ", name)
	}
}
