package streamlit_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testdb"
)

// stepTimeout limits one step of the browser, on a loaded machine.
const stepTimeout = time.Minute

// cells is a script that returns the cells of the first visible result as text. Streamlit draws a
// table on a canvas and keeps one of HTML for screen readers in it.
const cells = `[...(document.querySelector('[role=tabpanel]:not([hidden]) [data-testid=stDataFrame] table')
	?.querySelectorAll('[role=gridcell]') ?? [])].map(c => c.textContent).join('|')`

// In a real browser: a statement is typed and its result seen, with every digit; the cluster's state
// follows a write without a click; the database is offered as a file.
func TestBrowser(t *testing.T) {
	python := streamlitPython(t)
	chromium := findChromium(t)
	_, masterDB := testdb.SQLite(t)
	_, replicaDB := testdb.SQLite(t)
	c := startCluster(t, masterDB, replicaDB, console.Server{})
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	_, err := c.master.ExecContext(ctx, "CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT, people INTEGER)")
	require.NoError(t, err)
	_, err = c.master.ExecContext(ctx, "INSERT INTO city VALUES (9223372036854775807, 'Zürich <b>&amp;</b>', 448664), (2, 'Ulm', NULL)")
	require.NoError(t, err)
	address := startApp(ctx, t, python, c)

	tab := newTab(ctx, t, chromium)
	run := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		limit, cancel := context.WithTimeout(tab, stepTimeout)
		defer cancel()
		err := chromedp.Do(limit, steps...)
		if err != nil {
			screenshot(t, tab, "failed")
		}
		require.NoError(t, err, what)
	}
	seen := func(what, script string, want any) {
		t.Helper()
		err := chromedp.Do(tab, chromedp.Poll[chromedp.Void](fmt.Sprintf("(%s) === %#v", script, want),
			chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(stepTimeout)))
		if err != nil {
			screenshot(t, tab, "failed")
			got, _ := chromedp.Run(tab, chromedp.Evaluate[string]("String("+script+")"))
			t.Fatalf("%s: %v: got %q, want %v", what, err, got, want)
		}
	}
	const editor = `textarea[aria-label="SQL"]`
	run("the page", chromedp.Navigate(address), chromedp.WaitVisible(editor))
	run("a statement typed", chromedp.SendKeys(editor, "SELECT id, name, people FROM city ORDER BY id DESC"),
		chromedp.Click(`//button[.//p[text()="Run"]]`))
	seen("its result", cells, "9223372036854775807|Zürich <b>&amp;</b>|448664|2|Ulm|") // NULL is drawn only
	screenshot(t, tab, "sql")

	run("the cluster", chromedp.Click(`//*[@role="tab"][contains(., "Cluster")]`))
	seen("the chart", `document.querySelector('[data-testid=stVegaLiteChart] :is(canvas, svg)')?.checkVisibility()`, true)
	_, err = c.master.ExecContext(ctx, "UPDATE city SET people = 130000 WHERE id = 2")
	require.NoError(t, err)
	require.NoError(t, c.master.WaitLevel(ctx))
	const entry = `document.querySelectorAll('[data-testid=stMetricValue]')[1]?.textContent.trim()`
	seen("the state after a write", entry, fmt.Sprint(c.master.Position().LSN))
	screenshot(t, tab, "cluster")

	run("a table", chromedp.Click(`//*[@role="tab"][contains(., "Tables")]`))
	seen("its rows", cells, "2|Ulm|130000|9223372036854775807|Zürich <b>&amp;</b>|448664")
	run("the export", chromedp.Click(`//button[.//p[text()="Make a .sql file"]]`), chromedp.WaitVisible(`[data-testid="stDownloadButton"] button`))
	screenshot(t, tab, "tables")
}

// startApp runs the app as its README says and returns its address.
func startApp(ctx context.Context, t *testing.T, python string, c *cluster) string {
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t)))
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	logFile := filepath.Join(t.TempDir(), "streamlit.log")
	out, err := os.Create(logFile)
	require.NoError(t, err)
	defer out.Close() // the app has its own copy
	cmd := exec.Command(python, "-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.port", port)
	cmd.Env = append(appEnv(c), "HOME="+t.TempDir()) // no settings of the user
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill() // fails only if it has ended
		cmd.Wait()
		text, err := os.ReadFile(logFile)
		require.NoError(t, err)
		require.NotContains(t, string(text), token, "the token stays out of the log")
		if t.Failed() || strings.Contains(string(text), "Traceback") {
			t.Errorf("Streamlit said:\n%s", text)
		}
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !healthy(ctx, "http://"+address+"/_stcore/health") {
		select {
		case <-ctx.Done():
			t.Fatal("Streamlit does not start")
		case <-tick.C:
		}
	}
	return "http://" + address
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	req.Close = true // no connection outlives the test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// findChromium returns the browser. Without it the test is skipped, unless DDB_REQUIRE_BROWSER=1: then it fails.
func findChromium(t *testing.T) string {
	t.Helper()
	testdb.NotQuick(t, "DDB_REQUIRE_BROWSER", "browser")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const problem = "chromium is not installed: install Debian's chromium or run ./scripts/test"
	if os.Getenv("DDB_REQUIRE_BROWSER") == "1" {
		t.Fatal(problem)
	}
	t.Skip(problem)
	return ""
}

// newTab starts a browser with one page that ends with the test.
func newTab(ctx context.Context, t *testing.T, chromium string) context.Context {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	browser, stop := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(browser)
	t.Cleanup(func() {
		chromedp.Cancel(tab) // waits for the browser's end
		closeTab()
		stop()
	})
	require.NoError(t, chromedp.Do(tab, chromedp.EmulateViewport(1280, 900))) // the browser lives as long as this first context
	return tab
}

// screenshot keeps a picture of the page in DDB_CI_OUTPUT, if that is set.
func screenshot(t *testing.T, tab context.Context, name string) {
	dir := os.Getenv("DDB_CI_OUTPUT")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err != nil {
		t.Logf("no screenshot %s: %v", name, err)
		return
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "streamlit-"+name+".png"), png, 0o644))
}
