package browser_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/transport/fault"
)

// disagree makes three conflicts between the master and a snap whose link was cut meanwhile, on the rows 1 to 3 of stock.
func (h *house) disagree() (snap *ddb.Cluster) {
	h.t.Helper()
	h.Exec("CREATE TABLE stock (id BIGINT PRIMARY KEY, item VARCHAR(80), pieces BIGINT, code BLOB)")
	for i := range 3 {
		h.Exec("INSERT INTO stock VALUES (?, ?, 9007199254740993, ?)", i+1, fmt.Sprint("item ", i+1), []byte{0xca, 0xfe})
	}
	links := fault.New(h.Network)
	db := h.engine.OpenAlone(h.t).DB
	snap, err := ddb.Open(testcluster.Context(h.t), db, ddb.Options{ID: "van", Role: ddb.Snap, Master: "master", Transport: links, Logger: testcluster.Logger(h.t), Heartbeat: testcluster.Heartbeat})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { snap.Close() })
	require.NoError(h.t, snap.WaitReady(testcluster.Context(h.t)))
	testcluster.Wait(h.t, "the rows on the snap", func() bool { return testcluster.Count(snap, "SELECT count(*) FROM stock") == 3 })
	links.CutAll()
	for i := range 3 {
		_, err := snap.Exec("UPDATE stock SET item = ?, pieces = 9007199254740995 WHERE id = ?", fmt.Sprint(`<b>van</b> "`, i+1, `"`), i+1)
		require.NoError(h.t, err)
		if i == 2 {
			h.Exec("DELETE FROM stock WHERE id = 3")
			break
		}
		h.Exec("UPDATE stock SET item = ? WHERE id = ?", fmt.Sprint("shop ", i+1), i+1)
	}
	links.HealAll()
	testcluster.Wait(h.t, "the conflicts", func() bool {
		list, err := h.Master.Conflicts(testcluster.Context(h.t))
		require.NoError(h.t, err)
		return len(list) == 3
	})
	return snap
}

// A conflict shows what both sides wrote, side by side with every digit, and is retried or dismissed by a click.
func TestConflictPage(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		ctx := browser(t)
		h := build(t, e, console.Options{})
		snap := h.disagree()
		do(t, ctx, chromedp.Navigate(h.server.URL))
		until(t, ctx, `document.querySelectorAll('.n-row').length === 2`)
		until(t, ctx, `document.getElementById('open-conflicts').textContent === '3'`)
		do(t, ctx, chromedp.Click("#tab-data"), chromedp.Click(`[data-view="conflicts"]`))
		until(t, ctx, `document.querySelectorAll('#conflicts .conflict .act').length === 3`)
		const sides = `[...[...document.querySelectorAll('#conflicts .conflict')].find(c => c.querySelector('.tag').textContent.includes('%d')).querySelectorAll('.sides > div')].map(e => e.textContent)`
		require.Equal(t, []string{
			"Column", "Before", "van wrote", "Master had",
			"id", "1", "1", "1",
			"item", "item 1", `<b>van</b> "1"`, "shop 1",
			"pieces", "9007199254740993", "9007199254740995", "9007199254740993",
			"code", "0x ca fe", "0x ca fe", "0x ca fe"}, eval[[]string](t, ctx, fmt.Sprintf(sides, 1)))
		require.Equal(t, []string{"id", "3", "3", "no row"}, eval[[]string](t, ctx, fmt.Sprintf(sides, 3))[4:8])
		require.Equal(t, 0, eval[int](t, ctx, `document.querySelectorAll('#conflicts b').length`))
		for _, look := range []string{"light", "dark"} {
			for _, width := range widths {
				do(t, ctx, theme(look), chromedp.EmulateViewport(width.x, width.y))
				shoot(t, ctx, fmt.Sprintf("conflicts-%s-%s-%d", e, look, width.x))
			}
		}
		do(t, ctx, chromedp.EmulateViewport(1280, 860))

		click := func(id int, action string) {
			t.Helper()
			conflict := eval[string](t, ctx, fmt.Sprintf(`[...document.querySelectorAll('#conflicts .conflict')].find(c => c.querySelector('.tag').textContent.includes('%d')).dataset.conflict`, id))
			do(t, ctx, chromedp.Click(fmt.Sprintf(`[data-conflict="%s"] [data-action="%s"]`, conflict, action)))
		}
		left := `document.querySelectorAll('#conflicts .conflict').length === %d && document.getElementById('open-conflicts').textContent === '%[1]d'`
		click(1, "retry")
		until(t, ctx, fmt.Sprintf(left, 2))
		var item string
		require.NoError(t, h.DB.QueryRow("SELECT item FROM stock WHERE id = 1").Scan(&item))
		require.Equal(t, `<b>van</b> "1"`, item)

		click(2, "dismiss") // asks first
		do(t, ctx, chromedp.WaitVisible("#ask-no"), chromedp.Click("#ask-no"))
		require.Equal(t, 2, eval[int](t, ctx, `document.querySelectorAll('#conflicts .conflict').length`))
		click(2, "dismiss")
		do(t, ctx, chromedp.WaitVisible("#ask-yes"), chromedp.Click("#ask-yes"))
		until(t, ctx, fmt.Sprintf(left, 1))
		require.NoError(t, h.DB.QueryRow("SELECT item FROM stock WHERE id = 2").Scan(&item))
		require.Equal(t, "shop 2", item)

		testcluster.Wait(t, "the outcome on the snap", func() bool {
			return testcluster.Count(snap, `SELECT count(*) FROM stock WHERE id = 1 AND item LIKE '%van%' OR id = 2 AND item = 'shop 2'`) == 2 && testcluster.Count(snap, "SELECT count(*) FROM stock") == 2
		})
	})
}
