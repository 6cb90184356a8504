package screen

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

// showConflicts lists the conflicts that wait.
func (m *model) showConflicts() tea.Cmd {
	return m.work(m.top(), func(ctx context.Context) func() tea.Cmd {
		list, err := m.Conflicts.Conflicts(ctx)
		if err != nil {
			return m.failed(err)
		}
		if len(list) == 0 {
			return func() tea.Cmd { return m.home("no conflicts wait") }
		}
		return func() tea.Cmd {
			var options []option
			for _, c := range list {
				label := c.At.Local().Format(time.DateTime) + "  " + c.Table + " " + records.KeyOf(c) + "  " + c.Origin + "  " + records.Standing(c)
				options = append(options, option{label, func() tea.Cmd { return m.push(&conflictView{m: m, c: c}) }})
			}
			options = append(options, option{"← Back", m.pop})
			return m.push(newChoice(m, "CONFLICTS", "Which conflict?", options))
		}
	})
}

// conflictView shows the rows of one conflict side by side.
type conflictView struct {
	m    *model
	c    ddb.Conflict
	from int
}

func (v *conflictView) title() string { return v.c.Table + " " + records.KeyOf(v.c) }
func (v *conflictView) help() string {
	return "r: retry with the values of " + records.Loser(v.c) + " · d: dismiss · ↑↓: scroll · esc: back"
}

func (v *conflictView) update(msg tea.Msg) tea.Cmd {
	key, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return nil
	}
	_, h := v.m.bodySize()
	switch key.String() {
	case "r":
		return v.ask("retry", "Write the values of "+records.Loser(v.c)+" again?", "conflict retried", v.m.Conflicts.RetryConflict)
	case "d":
		return v.ask("dismiss", "Leave it as it is, and dismiss the conflict?", "conflict dismissed", v.m.Conflicts.DismissConflict)
	}
	step(key.String(), &v.from, h)
	return nil
}

func (v *conflictView) ask(name, question, done string, settle func(context.Context, string) error) tea.Cmd {
	return v.m.push(newConfirm(v.m, name, question, v.lines, func(c *confirm) tea.Cmd {
		return v.m.work(c, func(ctx context.Context) func() tea.Cmd {
			if err := settle(ctx, v.c.ID); err != nil {
				return func() tea.Cmd {
					v.m.pop()
					return v.m.failed(err)()
				}
			}
			v.m.Watcher.Poke()
			return func() tea.Cmd { return v.m.home(done + ": " + v.title()) }
		})
	}))
}

func (v *conflictView) render(width, height int) string {
	return scroll(v.lines(width), &v.from, height)
}

func (v *conflictView) lines(width int) []string {
	c := v.c
	list := wrap(c.At.Local().Format(time.DateTime)+" · policy "+c.Policy+" · "+records.Standing(c), width)
	if v.m.Policy != "" && v.m.Policy != c.Policy {
		list = append(list, wrap(errorStyle.Render("--policy expected "+v.m.Policy+", but the master's setting decides"), width)...)
	}
	if c.Reason != "" {
		list = append(list, wrap(faint.Render(c.Reason), width)...)
	}
	list = append(list, "")
	sides := records.Sides(c)
	names := lipgloss.Width("column")
	for _, s := range sides {
		names = max(names, lipgloss.Width(s.Column))
	}
	names = min(names, width/4)
	cell := (width - names - 2) / 3
	line := func(style lipgloss.Style, mark string, texts ...string) []string {
		parts := []string{style.Width(2).Render(mark), style.Width(names + 1).Render(texts[0])}
		for _, t := range texts[1:] {
			parts = append(parts, style.Width(cell).PaddingRight(1).Render(t))
		}
		return strings.Split(lipgloss.JoinHorizontal(lipgloss.Top, parts...), "\n")
	}
	list = append(list, line(bold, "", "column", "before", c.Origin+" wrote", "master had")...)
	for _, s := range sides {
		if s.Differs {
			list = append(list, line(differs, "≠", s.Column, s.Base, s.Local, s.Remote)...)
		} else {
			list = append(list, line(lipgloss.NewStyle(), "", s.Column, s.Base, s.Local, s.Remote)...)
		}
	}
	return list
}
