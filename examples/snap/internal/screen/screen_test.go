package screen

import (
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/snap/internal/live"
)

// The first copy shows how far it is: of an estimate, which is never taken for the end, or in rows.
func TestFirstCopy(t *testing.T) {
	m := newModel(t.Context(), Options{Watcher: live.New(), ID: "s", Master: "hq:7400"})
	m.stack = []view{&syncView{m: m}}
	m.status = live.Status{Online: true, State: ddb.Syncing, Progress: ddb.Progress{Table: "items", Rows: 500, Total: 1000, Bytes: 3 << 20}}
	shown := m.View().Content
	for _, want := range []string{"master at hq:7400", " 50%", "500 rows copied, 3.0 MiB", "table items"} {
		require.Contains(t, shown, want)
	}
	m.status.Progress = ddb.Progress{Table: "items", Rows: 2000, Total: 1000}
	require.Contains(t, m.View().Content, " 99%")
	m.status.Progress = ddb.Progress{Table: "items", Rows: 2000}
	require.Contains(t, m.View().Content, "2000 rows copied")
	m.status = live.Status{Reason: "nobody listens"}
	require.Contains(t, m.View().Content, "Waiting for the master: nobody listens")
}

// Whatever the window's size, the screen fills it exactly and no line is wider.
func TestSizes(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}, {40, 10}} {
		m := newModel(t.Context(), Options{Watcher: live.New(), ID: strings.Repeat("long-", 5)})
		m.width, m.height = size[0], size[1]
		m.push(newMenu(m))
		lines := strings.Split(m.View().Content, "\n")
		require.Len(t, lines, size[1])
		for _, l := range lines {
			require.LessOrEqual(t, lipgloss.Width(l), size[0], "%q", l)
		}
	}
}

// fit makes a text exactly as wide as asked for, wide characters included.
func TestFit(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 5, "abc  "}, {"abcdef", 4, "abc…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日… "}, {"abc", 0, ""}, {"ab", 1, "…"}} {
		require.Equal(t, c.want, fit(c.text, c.width))
	}
}
