package screen

import (
	"context"
	"errors"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

func newMenu(m *model) view {
	return newChoice(m, "", "What would you like to do?", []option{
		{"1 - INSERT      add a row", func() tea.Cmd { return m.chooseTable("INSERT", m.insert) }},
		{"2 - UPDATE      change a row", func() tea.Cmd { return m.chooseTable("UPDATE", m.update) }},
		{"3 - DELETE      remove a row", func() tea.Cmd { return m.chooseTable("DELETE", m.remove) }},
		{"4 - SELECT ALL  page through a table", func() tea.Cmd { return m.chooseTable("SELECT ALL", m.selectAll) }},
		{"5 - SEARCH      find rows", func() tea.Cmd { return m.chooseTable("SEARCH", m.search) }},
		{"6 - Exit", func() tea.Cmd { return tea.Quit }},
		{"7 - CONFLICTS   settle what two sides changed", func() tea.Cmd { return m.showConflicts() }},
	})
}

// chooseTable asks for one of the tables in the database and goes on with it.
func (m *model) chooseTable(name string, next func(*records.Table) tea.Cmd) tea.Cmd {
	from := m.top()
	return m.work(from, func(ctx context.Context) func() tea.Cmd {
		names, err := m.Store.Tables(ctx)
		if err == nil && len(names) == 0 {
			err = errors.New("the database has no tables yet; create them on the master")
		}
		if err != nil {
			return m.failed(err)
		}
		return func() tea.Cmd {
			var list []option
			for _, n := range names {
				list = append(list, option{n, func() tea.Cmd { return m.openTable(n, next) }})
			}
			list = append(list, option{"← Back", m.pop})
			return m.push(newChoice(m, name, "Which table?", list))
		}
	})
}

func (m *model) openTable(name string, next func(*records.Table) tea.Cmd) tea.Cmd {
	return m.work(m.top(), func(ctx context.Context) func() tea.Cmd {
		t, err := m.Store.Table(ctx, name)
		if err != nil {
			return m.failed(err)
		}
		return func() tea.Cmd { return next(t) }
	})
}

// syncView waits for the first copy of the database.
type syncView struct{ m *model }

func (s *syncView) title() string { return "first copy" }
func (s *syncView) help() string  { return "q: exit; the copy goes on at the next start" }

func (s *syncView) update(msg tea.Msg) tea.Cmd {
	if key, ok := msg.(tea.KeyPressMsg); ok && (key.String() == "q" || key.String() == "esc") {
		return tea.Quit
	}
	switch {
	case s.m.status.State == ddb.Failed:
		s.m.failure = fmt.Errorf("the node has failed: %s", s.m.status.Reason)
		return tea.Quit
	case s.m.status.Synced:
		return s.m.swap(newMenu(s.m))
	}
	return nil
}

func (s *syncView) render(width, height int) string {
	st := s.m.status
	lines := []string{bold.Render("Copying the database from the master at " + s.m.Master), ""}
	p := st.Progress
	switch {
	case !st.Online:
		lines = append(lines, "Waiting for the master: "+st.Reason)
	case p.Table == "" && p.Rows == 0:
		lines = append(lines, "Connected: "+st.Reason)
	default:
		lines = append(lines, bar(p, min(width-2, 60)), "", copied(p), faint.Render(copying(p.Table)))
	}
	return lipgloss.NewStyle().Width(width).Render(strings.Join(lines, "\n"))
}

func bar(p ddb.Progress, width int) string {
	if p.Total <= 0 {
		return faint.Render(strings.Repeat("·", width))
	}
	part := min(float64(p.Rows)/float64(p.Total), 1)
	if !p.Done {
		part = min(part, 0.99) // the total is an estimate
	}
	full := int(part * float64(width-5))
	return doneStyle.Render(strings.Repeat("█", full)) + faint.Render(strings.Repeat("░", width-5-full)) + fmt.Sprintf(" %3.0f%%", part*100)
}

// copied says how much there is already, and of how much: the total is an estimate.
func copied(p ddb.Progress) string {
	if p.Done || p.Total <= p.Rows {
		return records.Rows(p.Rows, "copied") + bytes(p.Bytes)
	}
	return fmt.Sprintf("%d of about ", p.Rows) + records.Rows(p.Total, "copied") + bytes(p.Bytes)
}

// copying names what is being copied. A name that begins with a per cent sign is of ddb's own tables.
func copying(table string) string {
	if strings.HasPrefix(table, "%") {
		return "what ddb keeps for all nodes"
	}
	return "table " + table
}

func bytes(n int64) string {
	switch {
	case n < 1<<10:
		return "" // next to nothing, or not counted
	case n >= 1<<30:
		return fmt.Sprintf(", %.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf(", %.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf(", %.1f KiB", float64(n)/(1<<10))
}
