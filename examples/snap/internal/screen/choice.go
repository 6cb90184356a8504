package screen

import (
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/huh/v2"
)

// option is one line of a choice.
type option struct {
	label string
	pick  func() tea.Cmd
}

// choice is a list of which one is taken, by the arrows or by the digit that begins it.
type choice struct {
	m       *model
	name    string
	heading string
	options []option
	form    *huh.Form
	field   *huh.Select[int]
	picked  int
}

func newChoice(m *model, name, heading string, options []option) *choice {
	c := &choice{m: m, name: name, heading: heading, options: options}
	c.build()
	return c
}

// build makes the form anew: a huh form that was completed is spent.
func (c *choice) build() {
	list := make([]huh.Option[int], len(c.options))
	for i, o := range c.options {
		list[i] = huh.NewOption(o.label, i)
	}
	c.field = huh.NewSelect[int]().Title(c.heading).Options(list...).Value(&c.picked)
	c.form = huh.NewForm(huh.NewGroup(c.field)).WithTheme(theme).WithShowHelp(false)
}

func (c *choice) title() string   { return c.name }
func (c *choice) filtering() bool { return c.field.GetFiltering() }

func (c *choice) help() string {
	if len(c.m.stack) == 1 {
		return "↑↓ or a digit, enter: choose · ctrl+c: exit"
	}
	return "↑↓, enter: choose · /: filter · esc: back"
}

func (c *choice) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case resized:
		if !c.filtering() { // a huh list that has shrunk does not grow again
			if i, ok := c.field.Hovered(); ok {
				c.picked = i
			}
			c.build()
		}
		return c.size()
	case tea.KeyPressMsg:
		if i := c.digit(msg.String()); i >= 0 && !c.filtering() {
			return c.take(i)
		}
		if msg.String() == "enter" && !c.filtering() { // not left to huh, as form.move is not
			if i, ok := c.field.Hovered(); ok {
				return c.take(i)
			}
			return nil
		}
	}
	_, cmd := c.form.Update(msg)
	return cmd
}

func (c *choice) size() tea.Cmd {
	w, h := c.m.bodySize()
	c.form.WithWidth(w).WithHeight(h)
	return c.form.Init()
}

// take goes on with an option, and leaves the choice as it was for the way back.
func (c *choice) take(i int) tea.Cmd {
	c.picked = i
	c.build()
	return tea.Batch(c.size(), c.options[i].pick())
}

func (c *choice) digit(key string) int {
	if len(key) != 1 || key[0] < '0' || key[0] > '9' {
		return -1
	}
	for i, o := range c.options {
		if strings.HasPrefix(o.label, key+" - ") {
			return i
		}
	}
	return -1
}

func (c *choice) render(int, int) string { return c.form.View() }

// notice is a text to read.
type notice struct {
	m          *model
	name, text string
	from       int
}

func newNotice(m *model, name, text string) *notice { return &notice{m: m, name: name, text: text} }

func (n *notice) title() string { return n.name }
func (n *notice) help() string  { return "enter or esc: back" }

func (n *notice) update(msg tea.Msg) tea.Cmd {
	if key, ok := msg.(tea.KeyPressMsg); ok {
		_, h := n.m.bodySize()
		if key.String() == "enter" {
			return n.m.pop()
		}
		step(key.String(), &n.from, h)
	}
	return nil
}

func (n *notice) render(width, height int) string {
	return scroll(wrap(errorStyle.Render("✗ ")+n.text, width), &n.from, height)
}
