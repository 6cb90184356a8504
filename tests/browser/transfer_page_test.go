package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

// The buttons for export and import take the whole database home and bring it back.
func TestTransferPage(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		ctx := browser(t)
		h := build(t, e, console.Options{})
		h.FillShop()
		h.Exec("INSERT INTO customers (id, name) VALUES (99, ?)", "O'Brien; -- \"ü\"\n")
		replica, _ := h.follow(ddb.Replica, "r1", nil)
		folder := t.TempDir()
		do(t, ctx, download(folder), chromedp.Navigate(h.server.URL+"#sql"), chromedp.WaitVisible("#export"), chromedp.Click("#export"))
		file := saved(t, filepath.Join(folder, "ddb-master.sql"))
		h.loads(file)

		h.Exec("DROP TABLE orders")
		h.Exec("DROP TABLE customers")
		until(t, ctx, `!document.getElementById('import').hidden`)
		choose(t, ctx, file)
		do(t, ctx, chromedp.WaitVisible("#ask-no"), chromedp.Click("#ask-no"))
		until(t, ctx, `!document.querySelector('dialog[open]')`)
		require.Equal(t, -1, testcluster.Count(h.Master, "SELECT count(*) FROM customers"))
		choose(t, ctx, file)
		do(t, ctx, chromedp.WaitVisible("#ask-yes"), chromedp.Click("#ask-yes"))
		until(t, ctx, `document.getElementById('toast').textContent.startsWith('Imported')`)
		require.Regexp(t, ` 249 rows$`, eval[string](t, ctx, `document.getElementById('toast').textContent`))
		until(t, ctx, `[...document.querySelectorAll('#schema summary')].map(e => e.textContent).join() === 'customers9,orders240'`)
		require.NoError(t, h.Master.WaitLevel(testcluster.Context(t)))
		testcluster.Wait(t, "the rows on the replica", func() bool {
			return testcluster.Count(replica, `SELECT count(*) FROM customers WHERE name LIKE 'O''Brien; -- "ü"%'`) == 1 && testcluster.Count(replica, "SELECT count(*) FROM orders") == 240
		})

		// A file that does not work says where.
		bad := filepath.Join(folder, "bad.sql")
		require.NoError(t, os.WriteFile(bad, []byte("SELECT 1;\nINSERT INTO nowhere VALUES (1);\n"), 0o600))
		choose(t, ctx, bad)
		do(t, ctx, chromedp.WaitVisible("#ask-yes"), chromedp.Click("#ask-yes"))
		until(t, ctx, `document.querySelector('#results .failed') && document.querySelector('#results .failed').textContent.includes('line 2')`)
	})
}

// saved waits until the browser has written the file whole: it has another name before, beside an empty file that holds its name.
func saved(t *testing.T, path string) string {
	t.Helper()
	testcluster.Wait(t, path, func() bool {
		f, err := os.Stat(path)
		return err == nil && f.Size() > 0
	})
	return path
}

// choose clicks on import and chooses the file in the browser's dialog.
func choose(t *testing.T, ctx context.Context, file string) {
	t.Helper()
	opened := make(chan cdp.BackendNodeID, 1)
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*page.EventFileChooserOpened); ok {
			select {
			case opened <- e.BackendNodeID:
			default:
			}
		}
	}))
	do(t, ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.SetInterceptFileChooserDialog, page.SetInterceptFileChooserDialogParams{Enabled: true})
		return err
	}), chromedp.Click("#import"))
	do(t, ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		select {
		case id := <-opened:
			_, err := cdp.Call(ctx, t, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: []string{file}, BackendNodeID: id})
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}))
}

// loads feeds the file to the stock client, into an empty database, and compares the shop's tables.
func (h *house) loads(file string) {
	t := h.t
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(text), "_ddb")
	if h.engine == testcluster.SQLite {
		path := filepath.Join(t.TempDir(), "fresh.db")
		load := exec.Command(testcluster.Program(t, "sqlite3"), "-bail", path)
		load.Stdin = bytes.NewReader(text)
		out, err := load.CombinedOutput()
		require.NoError(t, err, "%s", out)
		loaded := testdb.OpenSQLite(t, path)
		require.Equal(t, testcluster.Contents(t, h.DB, "customers", "orders"), testcluster.Contents(t, loaded, "customers", "orders"))
		return
	}
	fresh := h.engine.OpenAlone(t)
	load := exec.Command(testcluster.Program(t, "mariadb"), "--protocol=tcp", "--host=127.0.0.1", fmt.Sprintf("--port=%d", fresh.Server.Port()), "--user="+fresh.Server.User(), fresh.Name)
	load.Env = append(os.Environ(), "MYSQL_PWD="+fresh.Server.Password())
	load.Stdin = bytes.NewReader(text)
	out, err := load.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, table := range []string{"customers", "orders"} {
		var name string
		var want, got int64
		require.NoError(t, h.DB.QueryRow("CHECKSUM TABLE "+table).Scan(&name, &want))
		require.NoError(t, fresh.QueryRow("CHECKSUM TABLE "+table).Scan(&name, &got))
		require.Equal(t, want, got, table)
	}
}

// testDownloads takes a result home as CSV and JSON, with NULL, empty text, quotes, bytes and all digits.
func testDownloads(t *testing.T, ctx context.Context, h *house) {
	folder := t.TempDir()
	blob := map[string]string{"sqlite": "X'00FF'", "mariadb": "CAST(X'00FF' AS BINARY)"}[string(h.engine)]
	do(t, ctx, download(folder))
	write(t, ctx, "CREATE TABLE home (id BIGINT PRIMARY KEY, n VARCHAR(9), e VARCHAR(9), q VARCHAR(9), b BLOB); INSERT INTO home VALUES (9007199254740993, NULL, '', 'a,\"b\"', "+blob+"); SELECT * FROM home")
	until(t, ctx, `document.querySelectorAll('#results .result-head button').length === 2`)
	do(t, ctx, chromedp.Click("#results .result-head button:nth-of-type(1)"))
	b, err := os.ReadFile(saved(t, filepath.Join(folder, "result.csv")))
	require.NoError(t, err)
	require.Equal(t, "id,n,e,q,b\r\n9007199254740993,,\"\",\"a,\"\"b\"\"\",AP8=\r\n", string(b))
	do(t, ctx, chromedp.Click("#results .result-head button:nth-of-type(2)"))
	b, err = os.ReadFile(saved(t, filepath.Join(folder, "result.json")))
	require.NoError(t, err)
	require.True(t, json.Valid(b), "%s", b)
	require.Equal(t, `[{"id":9007199254740993,"n":null,"e":"","q":"a,\"b\"","b":"AP8="}]`, strings.TrimSpace(string(b)))
}
