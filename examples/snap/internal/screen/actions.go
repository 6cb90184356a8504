package screen

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

// inputs makes the inputs of a form from the fields of a table.
func inputs(fields []records.Field) []field {
	var list []field
	for _, f := range fields {
		list = append(list, field{f.Column.Name, f.Describe(), f.Initial, f.Empty, f.Check})
	}
	return list
}

func (m *model) insert(t *records.Table) tea.Cmd {
	return m.push(newForm(m, t.Name, "A new row of "+t.Name, records.InsertHelp, inputs(t.InsertFields()), func(f *form) tea.Cmd {
		return m.work(f, func(ctx context.Context) func() tea.Cmd {
			key, err := m.Store.Insert(ctx, t, f.texts)
			if err != nil {
				return func() tea.Cmd { return f.refused(err) }
			}
			m.Watcher.Poke()
			return func() tea.Cmd { return m.home(strings.TrimSpace("inserted into " + t.Name + " " + key)) }
		})
	}))
}

func (m *model) update(t *records.Table) tea.Cmd {
	return m.find(t, func(row records.Row) tea.Cmd { return m.edit(t, row) })
}

func (m *model) remove(t *records.Table) tea.Cmd {
	return m.find(t, func(row records.Row) tea.Cmd { return m.askDelete(t, row) })
}

// find asks for one row, by its key or out of a list.
func (m *model) find(t *records.Table, next func(records.Row) tea.Cmd) tea.Cmd {
	if len(t.Key) == 0 {
		return m.failed(records.ErrNoKey)()
	}
	var key []string
	for _, c := range t.KeyColumns() {
		key = append(key, c.Name)
	}
	return m.push(newChoice(m, t.Name, "How do you want to find the row?", []option{
		{"1 - by its key (" + strings.Join(key, ", ") + ")", func() tea.Cmd {
			return m.push(newForm(m, "by key", "The key of the row", "", inputs(t.KeyFields()), func(f *form) tea.Cmd {
				return m.work(f, func(ctx context.Context) func() tea.Cmd {
					row, err := m.Store.Find(ctx, t, f.texts)
					if err != nil {
						return func() tea.Cmd { return f.refused(err) }
					}
					return func() tea.Cmd { return next(row) }
				})
			}))
		}},
		{"2 - by a text in any column", func() tea.Cmd { return m.searchText(t, next) }},
		{"3 - by conditions per column", func() tea.Cmd { return m.searchColumns(t, next) }},
		{"4 - out of all rows", func() tea.Cmd { return m.push(newRows(m, "all", records.View{Table: t}, next)) }},
		{"← Back", m.pop},
	}))
}

func (m *model) selectAll(t *records.Table) tea.Cmd {
	return m.push(newRows(m, t.Name, records.View{Table: t}, m.showRow(t)))
}

func (m *model) showRow(t *records.Table) func(records.Row) tea.Cmd {
	return func(row records.Row) tea.Cmd { return m.push(&rowView{m: m, table: t, row: row}) }
}

func (m *model) search(t *records.Table) tea.Cmd {
	return m.push(newChoice(m, t.Name, "Search how?", []option{
		{"1 - a text in all columns", func() tea.Cmd { return m.searchText(t, m.showRow(t)) }},
		{"2 - a condition per column", func() tea.Cmd { return m.searchColumns(t, m.showRow(t)) }},
		{"← Back", m.pop},
	}))
}

func (m *model) searchText(t *records.Table, next func(records.Row) tea.Cmd) tea.Cmd {
	check := func(text string) error {
		_, err := t.SearchText(text)
		return err
	}
	return m.push(newForm(m, "text", "Search "+t.Name, "", []field{{name: "text", describe: "in any column", check: check}}, func(f *form) tea.Cmd {
		filter, err := t.SearchText(f.texts[0])
		if err != nil {
			return f.refused(err)
		}
		return m.push(newRows(m, "found", records.View{Table: t, Filter: filter}, next))
	}))
}

func (m *model) searchColumns(t *records.Table, next func(records.Row) tea.Cmd) tea.Cmd {
	var list []field
	for _, c := range t.Columns {
		list = append(list, field{name: c.Name, describe: c.Type, check: func(text string) error { return t.CheckCondition(c, text) }})
	}
	return m.push(newForm(m, "conditions", "Search "+t.Name, records.ConditionHelp, list, func(f *form) tea.Cmd {
		filter, err := t.SearchColumns(f.texts)
		if err != nil {
			return f.refused(err)
		}
		return m.push(newRows(m, "found", records.View{Table: t, Filter: filter}, next))
	}))
}

// edit opens the form of a row, and asks before it writes.
func (m *model) edit(t *records.Table, row records.Row) tea.Cmd {
	return m.push(newForm(m, "update", "Change "+t.Name+" "+t.KeyText(row), records.UpdateHelp, inputs(t.UpdateFields(row)), func(f *form) tea.Cmd {
		changes, err := t.Changes(row, f.texts)
		if err != nil {
			return f.refused(err)
		}
		return m.askUpdate(f, t, row, changes)
	}))
}

func (m *model) askUpdate(f *form, t *records.Table, row records.Row, changes []records.Change) tea.Cmd {
	lines := func(width int) []string {
		list := []string{bold.Render("Change " + t.Name + " " + t.KeyText(row)), ""}
		for _, c := range changes {
			list = append(list, wrap(bold.Render(c.Column.Name)+"  "+records.Show(c.Old)+differs.Render(" → ")+records.Show(c.New), width)...)
		}
		return list
	}
	return m.push(newConfirm(m, "save", "Write these changes?", lines, func(c *confirm) tea.Cmd {
		return m.work(c, func(ctx context.Context) func() tea.Cmd {
			if err := m.Store.Update(ctx, t, row, changes); err != nil {
				return func() tea.Cmd { return tea.Batch(m.pop(), f.refused(err)) }
			}
			m.Watcher.Poke()
			return func() tea.Cmd { return m.home("updated " + t.Name + " " + t.KeyText(row)) }
		})
	}))
}

func (m *model) askDelete(t *records.Table, row records.Row) tea.Cmd {
	lines := func(width int) []string {
		return append([]string{bold.Render("Delete from " + t.Name), ""}, rowLines(t, row, width)...)
	}
	return m.push(newConfirm(m, "delete", "Delete this row?", lines, func(c *confirm) tea.Cmd {
		return m.work(c, func(ctx context.Context) func() tea.Cmd {
			if err := m.Store.Delete(ctx, t, row); err != nil {
				return func() tea.Cmd {
					m.pop()
					return m.failed(err)()
				}
			}
			m.Watcher.Poke()
			return func() tea.Cmd { return m.home("deleted " + t.KeyText(row) + " from " + t.Name) }
		})
	}))
}
