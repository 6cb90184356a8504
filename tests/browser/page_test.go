package browser_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	browserdomain "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// write types SQL into the editor, long ones as if pasted, and runs it by the keyboard.
func write(t *testing.T, ctx context.Context, sql string) {
	t.Helper()
	typed := chromedp.SendKeys("#text", sql)
	if len(sql) > 20 {
		typed = chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: sql})
			return err
		})
	}
	do(t, ctx, chromedp.Click("#tab-sql"), chromedp.WaitVisible("#text"), run(`document.getElementById('text').value = ''; document.getElementById('results').replaceChildren()`),
		chromedp.Click("#text"), typed, chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
}

// Every feature of the page works by clicking and typing, on both kinds of databases.
func TestPage(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		ctx := browser(t)
		h := build(t, e, console.Options{Token: "the token of the page"})
		h.FillShop()
		_, _ = h.follow(ddb.Replica, "r1", nil)
		r2, r2db := h.follow(ddb.Replica, "r2", nil)

		// A wrong token lets nobody in; the right one opens the cluster.
		do(t, ctx, chromedp.Navigate(h.server.URL), chromedp.WaitVisible("#token"), chromedp.SendKeys("#token", "wrong"+kb.Enter))
		until(t, ctx, `document.getElementById('login-error').textContent === 'wrong token'`)
		do(t, ctx, chromedp.SendKeys("#token", kb.Backspace+h.token+kb.Enter))
		until(t, ctx, `document.querySelectorAll('.n-row').length === 3 && document.getElementById('health').textContent === 'all well'`)
		require.NotContains(t, eval[string](t, ctx, `location.href + document.cookie`), h.token)

		// A replica falls and returns while the page is watched; its link is seen to break.
		require.NoError(t, r2.Close())
		until(t, ctx, `document.querySelector('[data-node="r2"]').dataset.state === 'inactive' && document.querySelector('[data-link="r2"]').dataset.broken === 'true'`)
		shoot(t, ctx, string(e)+"-fallen")

		// A node that is gone can be forgotten, after a question, and comes back as a node that is known.
		require.False(t, eval[bool](t, ctx, `document.querySelector('[data-maintain="r2"]') !== null`))
		do(t, ctx, chromedp.Click(`[data-forget="r2"]`), chromedp.WaitVisible("#ask-yes"), chromedp.Click("#ask-yes"))
		until(t, ctx, `document.querySelectorAll('.n-row').length === 2 && document.getElementById('health').textContent === 'all well'`)
		h.follow(ddb.Replica, "r2", r2db)
		until(t, ctx, `document.querySelector('[data-node="r2"]')?.dataset.state === 'active' && document.querySelector('[data-link="r2"]').dataset.broken === 'false'`)

		// Maintenance: no reads are sent to the node. The button takes the press though the table is drawn anew meanwhile.
		press(t, ctx, `[data-maintain="r1"]`, func() {
			const lsn = `document.querySelector('[data-node="r1"] [data-label="LSN"]').textContent`
			before := eval[string](t, ctx, lsn)
			h.Exec("UPDATE customers SET city = 'Bath' WHERE id = 1")
			until(t, ctx, lsn+` !== '`+before+`'`)
		})
		until(t, ctx, `document.querySelector('[data-node="r1"] .state').textContent === 'maintenance'`)
		do(t, ctx, chromedp.Click(`[data-maintain="r1"]`))
		until(t, ctx, `document.querySelector('[data-node="r1"] .state').textContent === 'active'`)
		until(t, ctx, `document.querySelectorAll('#plot-writes path').length > 1`)

		// SQL: a table is made and filled, with cells that are hostile, empty and binary.
		write(t, ctx, "CREATE TABLE made (id INTEGER PRIMARY KEY, v TEXT, b BLOB, big BIGINT);")
		until(t, ctx, `[...document.querySelectorAll('#schema .t')].some(e => e.textContent === 'made')`)
		h.Exec("INSERT INTO made VALUES (1, ?, NULL, 9007199254740993), (2, 'NULL', ?, 1)", `<script>window.hacked=1</script><img src=x onerror="window.hacked=1">"'`+"\u202eabc", []byte{0, 255})
		write(t, ctx, "SELECT * FROM made ORDER BY id; SELECT 2 AS two")
		until(t, ctx, `document.querySelectorAll('#results .result').length === 2 && document.querySelectorAll('#results .g-row').length === 3`)
		require.False(t, eval[bool](t, ctx, `'hacked' in window || document.querySelectorAll('#results img, #results script').length > 0`))
		require.Equal(t, []any{"null", "9007199254740993", "bytes", "NULL"}, eval[[]any](t, ctx, `(() => { const c = [...document.querySelectorAll('#results .g-cell')]; const r = [...document.querySelectorAll('#results .g-row')]; return [r[0].children[3].className.split(' ')[1], r[0].children[4].textContent, r[1].children[3].className.split(' ')[1], r[1].children[2].textContent] })()`))
		shoot(t, ctx, string(e)+"-hostile")

		// An error stands where the statement is; a destructive statement asks first; a node can be chosen.
		write(t, ctx, "SELECT 1; SELEKT 2")
		until(t, ctx, `document.querySelector('#results .failed') && document.querySelector('#shade .bad-sql') !== null`)
		require.Contains(t, eval[string](t, ctx, `[...document.querySelectorAll('.bad-sql')].map(e => e.textContent).join('')`), "SELEKT")
		shoot(t, ctx, string(e)+"-error")
		write(t, ctx, "DELETE FROM made")
		do(t, ctx, chromedp.WaitVisible("#ask-no"), chromedp.Click("#ask-no"))
		var n int
		require.NoError(t, h.DB.QueryRow("SELECT count(*) FROM made").Scan(&n))
		require.Equal(t, 2, n)
		write(t, ctx, "DELETE FROM made")
		do(t, ctx, chromedp.WaitVisible("#ask-yes"), chromedp.Click("#ask-yes"))
		until(t, ctx, `document.getElementById('results').textContent.includes('2 rows changed')`)
		do(t, ctx, chromedp.SetValue("#node", "r2"))
		write(t, ctx, "SELECT count(*) FROM customers")
		until(t, ctx, `document.querySelector('#results .by') && document.querySelector('#results .by').textContent === 'r2'`)
		do(t, ctx, chromedp.SetValue("#node", ""), chromedp.SetValue("#consistency", "strong"), chromedp.Click("#run"))
		until(t, ctx, `document.querySelector('#results .by') && document.querySelector('#results .by').textContent === 'master'`)
		do(t, ctx, run(`document.getElementById('results').replaceChildren()`), chromedp.Click("#explain"))
		until(t, ctx, `document.querySelectorAll('#results .g-row').length > 0 && !document.querySelector('#results .failed')`)
		require.Regexp(t, map[string]string{"sqlite": "SCAN customers", "mariadb": "customers"}[string(e)], eval[string](t, ctx, `document.querySelector('#results .grid').textContent`))
		for _, level := range []string{"session", "eventual", "2s"} {
			do(t, ctx, chromedp.SetValue("#consistency", level))
			write(t, ctx, "SELECT '"+level+"'")
			until(t, ctx, `document.querySelector('#results .g-row') && document.querySelector('#results .g-row').textContent === '1`+level+`' && /^r[12]$/.test(document.querySelector('#results .by').textContent)`)
		}
		do(t, ctx, chromedp.SetValue("#consistency", ""))
		testHistory(t, ctx)
		testDatabases(t, ctx, h)
		testDownloads(t, ctx, h)

		// A running statement is canceled, by a click and by the keyboard, and no node works on it any longer.
		slow := map[string]string{"sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c", "mariadb": "SELECT SLEEP(50)"}[string(e)]
		write(t, ctx, slow)
		do(t, ctx, chromedp.WaitVisible("#cancel"), chromedp.Click("#cancel"))
		until(t, ctx, `document.getElementById('results').textContent.includes('Canceled')`)
		write(t, ctx, slow)
		do(t, ctx, chromedp.WaitVisible("#cancel"), chromedp.KeyEvent(kb.Escape))
		until(t, ctx, `document.getElementById('results').textContent.includes('Canceled')`)
		if e == testcluster.MariaDB {
			testcluster.Wait(t, "the end of SLEEP", func() bool { return testcluster.Busy(t, h.DB, "SLEEP") == 0 })
		}

		testDataTab(t, ctx, h)
		testManyRows(t, ctx, h)
		testKeys(t, ctx)
	})
}

// press holds the mouse's button down on an element while f runs.
func press(t *testing.T, ctx context.Context, element string, f func()) {
	t.Helper()
	at := eval[struct{ X, Y float64 }](t, ctx, `(() => { const r = document.querySelector('`+element+`').getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2} })()`)
	mouse := func(kind input.DispatchMouseEventType) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y, Button: input.MouseButtonLeft, ClickCount: 1})
			return err
		})
	}
	do(t, ctx, mouse(chromedp.MousePressed))
	f()
	do(t, ctx, mouse(chromedp.MouseReleased))
}

// testHistory brings older statements back, by the list, the buttons and the keyboard.
func testHistory(t *testing.T, ctx context.Context) {
	require.Greater(t, eval[int](t, ctx, `document.getElementById('history').options.length`), 4)
	text := func() string { return eval[string](t, ctx, `document.getElementById('text').value`) }
	do(t, ctx, chromedp.Click("#older"))
	require.Equal(t, "SELECT '2s'", text())
	do(t, ctx, chromedp.Click("#older"))
	require.Equal(t, "SELECT 'eventual'", text())
	do(t, ctx, chromedp.Click("#newer"))
	require.Equal(t, "SELECT '2s'", text())
	do(t, ctx, chromedp.KeyEvent(kb.ArrowUp, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	require.Equal(t, "SELECT 'eventual'", text())
	do(t, ctx, run(`{ const s = document.getElementById('history'); s.value = [...s.options].find(o => o.textContent === 'SELECT 1; SELEKT 2').value; s.dispatchEvent(new Event('change')) }`))
	require.Equal(t, "SELECT 1; SELEKT 2", text())
}

// testDatabases creates and drops a database where the server has several, and a table in it.
func testDatabases(t *testing.T, ctx context.Context, h *house) {
	if h.engine != testcluster.MariaDB {
		return
	}
	name := "page_database"
	write(t, ctx, "CREATE DATABASE "+name+"; CREATE TABLE "+name+".inner_table (id INT PRIMARY KEY)")
	until(t, ctx, `document.querySelectorAll('#results .result').length === 2 && !document.querySelector('#results .failed')`)
	write(t, ctx, "DROP DATABASE "+name)
	do(t, ctx, chromedp.WaitVisible("#ask-yes"), chromedp.Click("#ask-yes"))
	until(t, ctx, `document.querySelectorAll('#results .result').length === 1 && !document.querySelector('#results .failed')`)
}

// testKeys goes through the page without a mouse, and changes the theme.
func testKeys(t *testing.T, ctx context.Context) {
	do(t, ctx, run(`document.activeElement.blur()`), chromedp.KeyEvent("1"))
	until(t, ctx, `!document.getElementById('cluster').hidden && document.activeElement.id === 'tab-cluster'`)
	do(t, ctx, chromedp.KeyEvent(kb.ArrowRight))
	until(t, ctx, `!document.getElementById('sql').hidden`)
	do(t, ctx, run(`document.activeElement.blur()`), chromedp.KeyEvent("3"))
	until(t, ctx, `!document.getElementById('data').hidden && document.activeElement.id === 'tab-data'`)
	before := eval[string](t, ctx, `document.documentElement.dataset.theme`)
	do(t, ctx, chromedp.Click("#theme"))
	until(t, ctx, `document.documentElement.dataset.theme !== '`+before+`'`)
	do(t, ctx, chromedp.Click("#logout"), chromedp.WaitVisible("#token"))
}

func testDataTab(t *testing.T, ctx context.Context, h *house) {
	do(t, ctx, chromedp.Click("#tab-data"), chromedp.WaitVisible("#browse-rows .grid"))
	do(t, ctx, run(`{ const s = document.getElementById('browse-table'); s.value = [...s.options].find(o => o.textContent.endsWith('orders')).value; s.dispatchEvent(new Event('change')) }`))
	until(t, ctx, `document.getElementById('page-label').textContent.startsWith('1–200')`)
	do(t, ctx, chromedp.Click("#next"))
	until(t, ctx, `document.getElementById('page-label').textContent.startsWith('201–240')`)
	// Found and clicked in one step: the rows are drawn after the label, and those drawn anew are others.
	until(t, ctx, `!!document.querySelector('#browse-rows .g-row .g-cell:nth-child(4)')?.dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))`)
	do(t, ctx, chromedp.WaitVisible("#cell-value"))
	require.Equal(t, "Slide rule", eval[string](t, ctx, `document.getElementById('cell-value').textContent`))
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	do(t, ctx, chromedp.Click("#prev"))
	until(t, ctx, `document.getElementById('page-label').textContent.startsWith('1–200')`)
	until(t, ctx, `!!document.querySelector('#browse-rows [title^="amount"]')?.dispatchEvent(new MouseEvent('click', {bubbles: true}))`)
	until(t, ctx, `document.querySelector('#browse-rows [title^="amount"]').textContent.includes('↑') && document.getElementById('page-label').textContent.startsWith('1–200')`)
	do(t, ctx, chromedp.SendKeys("#filter", "Slide"))
	until(t, ctx, `document.getElementById('page-label').textContent === '1–40'`)
	do(t, ctx, chromedp.Click(`[data-view="journal"]`), chromedp.WaitVisible("#journal table"))
	until(t, ctx, `/CREATE TABLE .?made\b/.test(document.getElementById('journal').textContent)`)
	do(t, ctx, chromedp.Click(`[data-view="statements"]`), chromedp.WaitVisible("#statements table"))
	until(t, ctx, `document.getElementById('statements').textContent.includes('SELEKT 2')`)
	do(t, ctx, chromedp.Click(`[data-view="conflicts"]`), chromedp.WaitVisible("#conflicts .empty, #conflicts .conflict"))
}

// testManyRows shows 100,000 rows of which only those in sight exist, and takes them home as CSV.
func testManyRows(t *testing.T, ctx context.Context, h *house) {
	write(t, ctx, "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 999) SELECT a.n * 1000 + b.n AS n, 'row' AS label FROM c AS a JOIN c AS b LIMIT 100000")
	until(t, ctx, `document.querySelector('#results .row-count') && document.querySelector('#results .row-count').textContent === '100,000'`)
	require.Less(t, eval[int](t, ctx, `document.querySelectorAll('#results .g-row').length`), 100)
	do(t, ctx, run(`document.querySelector('#results .grid').scrollTop = 1e9`))
	until(t, ctx, `[...document.querySelectorAll('#results .g-row')].some(r => r.getAttribute('aria-rowindex') === '100000')`)
	require.Less(t, eval[int](t, ctx, `document.querySelectorAll('#results .g-row').length`), 100)
	folder := t.TempDir()
	do(t, ctx, download(folder), chromedp.Click("#results .result-head button"))
	testcluster.Wait(t, "the CSV", func() bool {
		b, err := os.ReadFile(filepath.Join(folder, "result.csv"))
		return err == nil && len(b) > 100_000*8
	})
}

// download lets the browser save files in the folder.
func download(folder string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browserdomain.SetDownloadBehavior, browserdomain.SetDownloadBehaviorParams{
			Behavior: browserdomain.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder})
		return err
	})
}
