package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
	"github.com/ddb-project/ddb/internal/testcluster"

	"github.com/ddb-project/ddb/internal/testdb"
)

// browser starts Chromium, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	testdb.NotQuick(t, "DDB_REQUIRE_BROWSER", "browser")
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("DDB_REQUIRE_BROWSER") == "1" {
			t.Fatal("no chromium on this machine, and DDB_REQUIRE_BROWSER=1 demands it")
		}
		t.Skip("no chromium on this machine: install Debian's package chromium to test the page")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()))
	alloc, stop := chromedp.NewExecAllocator(testcluster.Context(t), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser's end
		cancel()
	})
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(1280, 860)))
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("the page has thrown: %s", e.ExceptionDetails.Exception.Description)
		}
	}))
	return ctx
}

// do runs actions in the page, within a limit.
func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := chromedp.Do(limit, actions...); err != nil {
		shoot(t, ctx, "failed-"+filepath.Base(t.Name()))
		require.NoError(t, err)
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](t *testing.T, ctx context.Context, expression string) (v T) {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := chromedp.Run(limit, chromedp.Evaluate[T](expression))
	require.NoError(t, err, expression)
	return v
}

// until waits for a JavaScript expression to become true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(limit, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(30*time.Millisecond))); err != nil {
		shoot(t, ctx, "failed-"+filepath.Base(t.Name()))
		require.NoError(t, err, expression)
	}
}

// shoot keeps a screenshot where the environment asks for them.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := os.Getenv("DDB_CI_OUTPUT")
	if folder == "" {
		return
	}
	folder = filepath.Join(folder, "console")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644))
}

// pose waits for a picture to be worth taking, where pictures are taken.
func pose(d time.Duration) chromedp.Action[chromedp.Void] {
	if os.Getenv("DDB_CI_OUTPUT") == "" {
		d = 0
	}
	return chromedp.Sleep(d)
}

// fits checks that nobody has to scroll the page sideways.
func fits(t *testing.T, ctx context.Context) {
	t.Helper()
	require.LessOrEqual(t, eval[int](t, ctx, `Math.max(document.documentElement.scrollWidth, document.querySelector('main').scrollWidth) - innerWidth`), 0)
}

// theme makes the page light or dark.
func theme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// run evaluates JavaScript for its effect.
func run(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[any](expression)(ctx, t)
		return err
	})
}

// widths are the sizes that the page is looked at, of a laptop's window and of a telephone.
var widths = []struct{ x, y int64 }{{1280, 860}, {390, 844}}

// The page looks as it should, light and dark, wide and narrow. The pictures are for people.
func TestScreenshots(t *testing.T) {
	ctx := browser(t)
	h := build(t, testcluster.SQLite, console.Options{})
	h.FillShop()
	h.follow(ddb.Replica, "replica-1", nil)
	h.follow(ddb.Replica, "replica-2", nil)
	lost, _ := h.follow(ddb.Replica, "replica-3", nil)
	require.NoError(t, lost.Close())
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(4+i/40%9) * time.Millisecond):
			}
			_, _ = h.Master.Exec("UPDATE orders SET amount = amount + 1 WHERE id = ?", i%240+1)
			for range 3 {
				var n int
				_ = h.Master.QueryRowContext(ddb.WithConsistency(context.Background(), ddb.Eventual), "SELECT count(*) FROM customers").Scan(&n)
			}
		}
	}()
	do(t, ctx, chromedp.Navigate(h.server.URL))
	until(t, ctx, `document.querySelectorAll('.n-row').length === 4`)
	until(t, ctx, `document.querySelector('[data-node="replica-3"]').dataset.state === 'inactive'`)
	do(t, ctx, pose(8*time.Second)) // let the plots fill
	const odd = `fetch('api/history').then(r => r.text()).then(s => { window.odd = /\d\.\d{12}/.test(s) })`
	testcluster.Wait(t, "rates of many digits", func() bool { do(t, ctx, run(odd)); return eval[bool](t, ctx, `window.odd === true`) })
	do(t, ctx, chromedp.Reload()) // the plots begin with what has been
	until(t, ctx, `document.querySelectorAll('.n-row').length === 4 && document.querySelectorAll('#plot-writes path').length > 1`)
	for _, look := range []string{"light", "dark"} {
		for _, width := range widths {
			do(t, ctx, theme(look), chromedp.EmulateViewport(width.x, width.y))
			name := fmt.Sprintf("%s-%d", look, width.x)
			do(t, ctx, chromedp.Click("#tab-cluster"), pose(400*time.Millisecond))
			fits(t, ctx)
			shoot(t, ctx, "cluster-"+name)
			do(t, ctx, chromedp.Click("#tab-sql"), chromedp.WaitVisible("#text"),
				chromedp.SetValue("#text", "-- what each customer has paid\nSELECT o.id, c.name, o.item, o.amount, o.paid, o.note, o.receipt\nFROM orders o JOIN customers c ON c.id = o.customer_id\nWHERE o.amount > 20\nORDER BY o.id;"),
				run(`document.getElementById('text').dispatchEvent(new Event('input'))`), chromedp.Click("#run"), chromedp.WaitVisible("#results .g-row"), pose(300*time.Millisecond))
			fits(t, ctx)
			shoot(t, ctx, "sql-"+name)
			do(t, ctx, chromedp.Click("#tab-data"), chromedp.Click(`[data-view="browse"]`), chromedp.WaitVisible("#browse-rows .g-row"),
				run(`{ const s = document.getElementById('browse-table'); s.value = '1'; s.dispatchEvent(new Event('change')) }`), pose(500*time.Millisecond))
			fits(t, ctx)
			shoot(t, ctx, "data-"+name)
			do(t, ctx, chromedp.Click(`[data-view="journal"]`), chromedp.WaitVisible("#journal table"))
			fits(t, ctx)
			shoot(t, ctx, "journal-"+name)
			do(t, ctx, chromedp.Click(`[data-view="statements"]`), chromedp.WaitVisible("#statements table"))
			fits(t, ctx)
			shoot(t, ctx, "statements-"+name)
		}
	}
}
