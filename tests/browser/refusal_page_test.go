package browser_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testcluster"
)

// The page says in words why a statement was refused, and offers a reader nothing that he may not do.
func TestRefusalPage(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		ctx := browser(t)
		h := build(t, e, console.Options{Token: "admin", Tokens: map[string]console.Access{"the reader": console.Read}})
		h.FillShop()
		do(t, ctx, chromedp.Navigate(h.server.URL+"#sql"), chromedp.WaitVisible("#login input"),
			chromedp.SendKeys("#login input", "the reader\r"), chromedp.WaitVisible("#text"), chromedp.SendKeys("#text", "DELETE FROM orders"), chromedp.Click("#run"))
		until(t, ctx, `!!document.querySelector('#results .failed, dialog[open] #ask-yes')`)
		if eval[bool](t, ctx, `!!document.querySelector('dialog[open] #ask-yes')`) {
			do(t, ctx, chromedp.Click("#ask-yes"))
			until(t, ctx, `!!document.querySelector('#results .failed')`)
		}
		shown := eval[string](t, ctx, `document.querySelector('#results').innerText`)
		require.Contains(t, shown, "not allowed")
		require.Contains(t, shown, "your access is read, and this takes write")
		require.True(t, eval[bool](t, ctx, `document.getElementById('export').hidden && document.getElementById('import').hidden`))
		shoot(t, ctx, "refused-"+string(e))
		require.Equal(t, 240, testcluster.Count(h.Master, "SELECT count(*) FROM orders"))
	})
}
