package screen

import (
	"context"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

const (
	widestCell = 32
	rowsChrome = 3 // lines of a list that are not rows
)

// rows pages through a view of a table.
type rows struct {
	m      *model
	name   string
	view   records.View
	page   records.Page
	ready  bool
	again  bool // the size has changed while a page was being read
	size   int  // rows on a page
	cursor int
	left   int // first column shown
	pick   func(records.Row) tea.Cmd
}

// newRows opens a list; pick is called with the row on which enter is pressed.
func newRows(m *model, name string, v records.View, pick func(records.Row) tea.Cmd) *rows {
	return &rows{m: m, name: name, view: v, pick: pick}
}

func (r *rows) title() string { return r.name }
func (r *rows) help() string {
	return "↑↓ ←→ · n, p: next, previous page · home/end · r: reload · enter: row · esc: back"
}

func (r *rows) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case resized:
		_, h := r.m.bodySize()
		r.size = max(h-rowsChrome, 1)
		if r.m.busy {
			r.again = true
			return nil
		}
		if !r.ready {
			return r.load(func(ctx context.Context) (records.Page, error) { return r.m.Store.First(ctx, r.view, r.size) })
		}
		return r.reload()
	case tea.KeyPressMsg:
		return r.key(msg.String())
	}
	return nil
}

func (r *rows) key(key string) tea.Cmd {
	s, p, n := r.m.Store, r.page, r.size
	switch key {
	case "up", "k":
		if r.cursor == 0 && p.Less {
			r.cursor = n
			return r.load(func(ctx context.Context) (records.Page, error) { return s.Previous(ctx, p, n) })
		}
		r.cursor--
	case "down", "j":
		if r.cursor == len(p.Rows)-1 && p.More {
			r.cursor = 0
			return r.load(func(ctx context.Context) (records.Page, error) { return s.Next(ctx, p, n) })
		}
		r.cursor++
	case "left", "h":
		r.left = max(r.left-1, 0)
	case "right", "l":
		r.left = min(r.left+1, len(r.view.Table.Columns)-1)
	case "pgdown", "n", "space":
		return r.load(func(ctx context.Context) (records.Page, error) { return s.Next(ctx, p, n) })
	case "pgup", "p":
		return r.load(func(ctx context.Context) (records.Page, error) { return s.Previous(ctx, p, n) })
	case "home", "g":
		r.cursor = 0
		return r.load(func(ctx context.Context) (records.Page, error) { return s.First(ctx, r.view, n) })
	case "end", "G":
		r.cursor = n
		return r.load(func(ctx context.Context) (records.Page, error) { return s.Last(ctx, r.view, n) })
	case "r":
		return r.reload()
	case "enter":
		if r.cursor < len(p.Rows) {
			return r.pick(p.Rows[r.cursor])
		}
	}
	r.cursor = max(min(r.cursor, len(p.Rows)-1), 0)
	return nil
}

func (r *rows) reload() tea.Cmd {
	p, n := r.page, r.size
	return r.load(func(ctx context.Context) (records.Page, error) { return r.m.Store.Again(ctx, p, n) })
}

func (r *rows) load(read func(context.Context) (records.Page, error)) tea.Cmd {
	return r.m.work(r, func(ctx context.Context) func() tea.Cmd {
		p, err := read(ctx)
		if err != nil {
			return r.m.failed(err)
		}
		return func() tea.Cmd {
			r.page, r.ready = p, true
			r.cursor = max(min(r.cursor, len(p.Rows)-1), 0)
			if r.again {
				r.again = false
				return r.reload()
			}
			return nil
		}
	})
}

func (r *rows) render(width, _ int) string {
	if !r.ready {
		return faint.Render("reading…")
	}
	what := r.view.Filter.Text
	if len(r.page.Rows) == 0 {
		return strings.TrimSpace("no rows " + what)
	}
	widths, last := r.widths(width)
	var names []string
	for i, w := range widths {
		names = append(names, fit(r.view.Table.Columns[r.left+i].Name, w))
	}
	lines := []string{bold.Underline(true).Render(strings.Join(names, "  "))}
	for i, row := range r.page.Rows {
		var cells []string
		for j, w := range widths {
			cells = append(cells, fit(records.Show(row[r.left+j]), w))
		}
		line := strings.Join(cells, "  ")
		if i == r.cursor {
			line = chosen.Render(line)
		}
		lines = append(lines, line)
	}
	foot := r.page.Range()
	if columns := len(r.view.Table.Columns); r.left > 0 || last < columns {
		foot += fmt.Sprintf(" · columns %d to %d of %d", r.left+1, last, columns)
	}
	if what != "" {
		foot += " · " + what
	}
	return strings.Join(append(lines, "", faint.Render(fit(foot, width))), "\n")
}

// widths returns those of the columns from r.left on that fit, and the number of the last one.
func (r *rows) widths(total int) (list []int, last int) {
	for last = r.left; last < len(r.view.Table.Columns); last++ {
		w := lipgloss.Width(r.view.Table.Columns[last].Name)
		for _, row := range r.page.Rows {
			w = max(w, lipgloss.Width(records.Show(row[last])))
		}
		w = min(w, widestCell)
		if len(list) > 0 && w+2 > total {
			break
		}
		w = min(w, total)
		list = append(list, w)
		total -= w + 2
	}
	return list, last
}

// rowView shows one row in full, from where it can be changed or deleted.
type rowView struct {
	m     *model
	table *records.Table
	row   records.Row
	from  int
}

func (r *rowView) title() string { return r.table.KeyText(r.row) }
func (r *rowView) help() string  { return "u: update · d: delete · ↑↓: scroll · esc: back" }

func (r *rowView) update(msg tea.Msg) tea.Cmd {
	key, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return nil
	}
	_, h := r.m.bodySize()
	switch key.String() {
	case "u":
		return r.m.edit(r.table, r.row)
	case "d":
		return r.m.askDelete(r.table, r.row)
	case "enter":
		return r.m.pop()
	}
	step(key.String(), &r.from, h)
	return nil
}

func (r *rowView) render(width, height int) string {
	return scroll(rowLines(r.table, r.row, width), &r.from, height)
}
