package screen

import (
	"errors"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/huh/v2"
	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

// field is one input of a form.
type field struct {
	name, describe, initial string
	empty                   string // shown in place of an empty text
	check                   func(text string) error
}

// form asks for several texts. submit is called with them once each passes its check.
type form struct {
	m      *model
	name   string
	intro  string
	hint   string
	fields []field
	texts  []string
	submit func(f *form) tea.Cmd
	banner string // why the last submission was refused
	inputs []*huh.Input
	form   *huh.Form
	done   bool
}

func newForm(m *model, name, intro, hint string, fields []field, submit func(*form) tea.Cmd) *form {
	f := &form{m: m, name: name, intro: intro, hint: hint, fields: fields, submit: submit, texts: make([]string, len(fields))}
	for i := range fields {
		f.texts[i] = fields[i].initial
	}
	f.build()
	return f
}

// build makes a fresh huh form over the same texts.
func (f *form) build() {
	f.inputs, f.done = nil, false
	var list []huh.Field
	for i, fd := range f.fields {
		in := huh.NewInput().Title(fd.name + "  " + faint.Render(fd.describe)).Value(&f.texts[i]).Placeholder(fd.empty).CharLimit(0).Validate(fd.check)
		f.inputs = append(f.inputs, in)
		list = append(list, in)
	}
	f.form = huh.NewForm(huh.NewGroup(list...)).WithTheme(theme).WithShowHelp(false).WithShowErrors(false)
}

// refused opens the form again, with what was typed and the reason on top, at the field that the reason is about.
func (f *form) refused(err error) tea.Cmd {
	f.banner = err.Error()
	f.build()
	cmds := []tea.Cmd{f.update(resized{})}
	var r *records.Refusal
	if errors.As(err, &r) && len(r.Columns) > 0 {
		at := slices.IndexFunc(f.fields, func(fd field) bool { return fd.name == r.Columns[0] })
		for range at {
			cmds = append(cmds, f.form.NextField())
		}
	}
	return tea.Batch(cmds...)
}

func (f *form) title() string { return f.name }
func (f *form) help() string {
	return "enter: next, on the last field: done · shift+tab: previous · esc: back"
}

func (f *form) update(msg tea.Msg) tea.Cmd {
	if _, ok := msg.(resized); ok {
		if f.done {
			f.build()
		}
		w, h := f.m.bodySize()
		f.form.WithWidth(w).WithHeight(max(h-len(f.top(w)), 4))
		return f.form.Init()
	}
	_, cmd := f.form.Update(msg)
	if key, ok := msg.(tea.KeyPressMsg); ok {
		cmd = f.move(key.String(), cmd)
	}
	for i, in := range f.inputs {
		reason := ""
		if err := in.Error(); err != nil {
			reason = errorStyle.Render("✗ " + f.fields[i].name + ": " + err.Error())
		}
		in.Description(reason)
	}
	if f.form.State == huh.StateCompleted && !f.done {
		f.done, f.banner = true, ""
		return tea.Batch(cmd, f.submit(f))
	}
	return cmd
}

// move goes to the field that a key asks for, at once. huh would do so by cmd, with messages that keys typed ahead
// overtake, so that they went into the wrong field.
func (f *form) move(key string, cmd tea.Cmd) tea.Cmd {
	at := slices.IndexFunc(f.inputs, func(in *huh.Input) bool { return in == f.form.GetFocusedField() })
	if at < 0 {
		return cmd
	}
	last := at == len(f.inputs)-1
	switch {
	case key == "shift+tab" && at > 0:
		return f.form.PrevField()
	case key != "enter" && (key != "tab" || last) || f.inputs[at].Error() != nil:
		return cmd
	case last:
		f.form.NextField()
		return f.form.NextGroup()
	}
	return f.form.NextField()
}

// top is what stands above the fields.
func (f *form) top(width int) []string {
	var lines []string
	if f.banner != "" {
		lines = append(lines, wrap(errorStyle.Render("✗ refused: "+f.banner), width)...)
	}
	if f.intro != "" {
		lines = append(lines, wrap(bold.Render(f.intro), width)...)
	}
	if f.hint != "" {
		lines = append(lines, wrap(faint.Render(f.hint), width)...)
	}
	return append(lines, "")
}

func (f *form) render(width, _ int) string {
	body := f.form.View()
	if f.done {
		body = faint.Render("…")
	}
	return lipgloss.JoinVertical(lipgloss.Left, strings.Join(f.top(width), "\n"), body)
}

// confirm shows something and asks whether to go on. No is the default.
type confirm struct {
	m        *model
	name     string
	lines    func(width int) []string
	question string
	yes      func(c *confirm) tea.Cmd
	from     int
	answer   bool
	done     bool
	form     *huh.Form
}

func newConfirm(m *model, name, question string, lines func(width int) []string, yes func(*confirm) tea.Cmd) *confirm {
	c := &confirm{m: m, name: name, lines: lines, question: question, yes: yes}
	c.form = huh.NewForm(huh.NewGroup(huh.NewConfirm().Title(question).Affirmative("Yes").Negative("No").Value(&c.answer))).
		WithTheme(theme).WithShowHelp(false)
	return c
}

func (c *confirm) title() string { return c.name }
func (c *confirm) help() string {
	return "y: yes · n: no · ←→, enter: choose · ↑↓: scroll · esc: back"
}

// confirmLines is what the question and its buttons take.
const confirmLines = 5

func (c *confirm) update(msg tea.Msg) tea.Cmd {
	if _, ok := msg.(resized); ok {
		w, _ := c.m.bodySize()
		c.form.WithWidth(w).WithHeight(confirmLines - 1)
		return c.form.Init()
	}
	if key, ok := msg.(tea.KeyPressMsg); ok {
		_, h := c.m.bodySize()
		if step(key.String(), &c.from, h-confirmLines) {
			return nil
		}
		switch key.String() { // not left to huh, as form.move is not
		case "y", "Y":
			return c.decide(true)
		case "n", "N":
			return c.decide(false)
		case "enter":
			return c.decide(c.answer)
		}
	}
	_, cmd := c.form.Update(msg)
	return cmd
}

func (c *confirm) decide(yes bool) tea.Cmd {
	switch {
	case c.done:
		return nil
	case yes:
		c.done = true
		return c.yes(c)
	}
	c.done = true
	return c.m.pop()
}

func (c *confirm) render(width, height int) string {
	return lipgloss.JoinVertical(lipgloss.Left, scroll(c.lines(width), &c.from, max(height-confirmLines, 1)), "", c.form.View())
}
