package screen

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/snap/internal/live"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

// The first copy shows how far it is: of an estimate, which is never taken for the end, or in rows.
func TestFirstCopy(t *testing.T) {
	m := newModel(t.Context(), Options{Watcher: live.New(), ID: "s", Master: "hq:7400"})
	m.stack = []view{&syncView{m: m}}
	m.status = live.Status{Online: true, State: ddb.Syncing, Progress: ddb.Progress{Table: "items", Rows: 500, Total: 1000, Bytes: 3 << 20}}
	shown := m.View().Content
	for _, want := range []string{"master at hq:7400", " 50%", "500 of about 1000 rows copied, 3.0 MiB", "table items"} {
		require.Contains(t, shown, want)
	}
	m.status.Progress = ddb.Progress{Table: "items", Rows: 2000, Total: 1000}
	require.Contains(t, m.View().Content, " 99%")
	m.status.Progress = ddb.Progress{Table: "items", Rows: 2000}
	require.Contains(t, m.View().Content, "2000 rows copied")
	m.status.Progress = ddb.Progress{Table: "%ddb.followers", Rows: 1, Total: 1000, Bytes: 30}
	shown = m.View().Content
	require.Contains(t, shown, "1 of about 1000 rows copied ")
	require.NotContains(t, shown, "%ddb")
	m.status = live.Status{Reason: "nobody listens"}
	require.Contains(t, m.View().Content, "Waiting for the master: nobody listens")
}

// Keys that come in one go each act where they belong: a form's texts end up in its fields, two
// escapes go back twice. Nothing the keys set off has been run in between.
func TestTypedAhead(t *testing.T) {
	m := newModel(t.Context(), Options{Watcher: live.New()})
	m.push(newMenu(m))
	var got []string
	f := newForm(m, "form", "", "", []field{{name: "a", check: noCheck}, {name: "b", check: noCheck}, {name: "c", check: noCheck}},
		func(f *form) tea.Cmd {
			got = f.texts
			return m.push(newConfirm(m, "sure", "Sure?", func(int) []string { return nil }, func(*confirm) tea.Cmd { return m.home("done") }))
		})
	m.push(f)
	type keys = tea.KeyPressMsg
	enter := keys{Code: tea.KeyEnter}
	for _, k := range []keys{{Code: '1', Text: "1"}, enter, {Code: '2', Text: "2"}, {Code: tea.KeyTab}, {Code: '3', Text: "3"},
		{Code: tea.KeyTab, Mod: tea.ModShift}, {Code: '4', Text: "4"}, enter, enter, {Code: 'y', Text: "y"}} {
		m.Update(k)
	}
	require.Equal(t, []string{"1", "24", "3"}, got)
	require.Len(t, m.stack, 1)
	require.Equal(t, "done", m.flash)
	m.push(newNotice(m, "one", ""))
	m.push(newNotice(m, "two", ""))
	m.Update(keys{Code: tea.KeyEscape, Mod: tea.ModAlt})
	require.Len(t, m.stack, 1)
}

// A list that has shrunk with the window grows with it again.
func TestChoiceGrowsAgain(t *testing.T) {
	m := newModel(t.Context(), Options{Watcher: live.New()})
	m.push(newMenu(m))
	for _, h := range []int{24, 8, 24} {
		m.Update(tea.WindowSizeMsg{Width: 80, Height: h})
	}
	for _, want := range []string{"1 - INSERT", "7 - CONFLICTS"} {
		require.Contains(t, m.View().Content, want)
	}
}

// A form that the database refuses opens at the field that it is about.
func TestRefusedAtField(t *testing.T) {
	m := newModel(t.Context(), Options{Watcher: live.New()})
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	f := newForm(m, "form", "", "", []field{{name: "a", check: noCheck}, {name: "b", check: noCheck, empty: "NULL"}}, nil)
	m.push(f)
	f.refused(&records.Refusal{Columns: []string{"b"}, Reason: "another row has this value"})
	m.Update(tea.KeyPressMsg{Code: 'x', Text: "x"})
	require.Equal(t, []string{"", "x"}, f.texts)
	require.Contains(t, m.View().Content, "b: another row has this value")
}

func noCheck(string) error { return nil }

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

// In a narrow window the way back and the conflicts stay in sight; what lies in the middle goes first.
func TestSqueeze(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"a · b · c", 12, "a · b · c   "}, {"first · middle · last", 14, "first · last  "}, {"1 · 22 · 333 · 4444", 13, "1 · 22 · 4444"}, {"first · last", 7, "first …"}} {
		require.Equal(t, c.want, squeeze(c.text, c.width))
	}
	m := newModel(t.Context(), Options{Watcher: live.New()})
	m.width = 60
	m.push(newMenu(m))
	m.push(newForm(m, "form", "", "", []field{{name: "a", check: noCheck}}, nil))
	require.Contains(t, m.helpLine(), "esc: back")
	m.status.Conflicts = 12
	require.Contains(t, m.statusLine(), "12 conflicts (menu: 7)")
}
