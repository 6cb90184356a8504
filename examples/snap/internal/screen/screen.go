// Package screen is the front end in a terminal: the menu, the forms and the lists, with a
// status line that is always true.
package screen

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb/examples/snap/internal/live"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

const (
	workLimit = time.Minute // for one statement
	typeAhead = 256         // keys kept while a statement runs
	chrome    = 4           // lines around the body: header, a blank one, help, status
)

// Options say what the screen shows.
type Options struct {
	Store     *records.Store
	Watcher   *live.Watcher
	Conflicts records.Conflicts
	ID        string // of the node
	Database  string // where it is, without a password
	Master    string // address
	Policy    string // that the user expects, "" for none
}

// Run shows the screen until Exit or ctx.
func Run(ctx context.Context, o Options) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(inner, o)
	_, err := tea.NewProgram(m, tea.WithContext(inner), tea.WithoutSignalHandler(), tea.WithFilter(quiet)).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, m.failure)
}

// quiet drops the question for the window's size that each huh form asks when it starts: this package
// tells the forms their size, and the answers would come at any time.
func quiet(_ tea.Model, msg tea.Msg) tea.Msg {
	if msg == tea.RequestWindowSize() {
		return nil
	}
	return msg
}

// view is one screenful. All methods are called by the program's one event loop.
type view interface {
	title() string
	help() string
	update(msg tea.Msg) tea.Cmd
	render(width, height int) string
}

// model is the stack of views, the topmost of which is shown.
type model struct {
	Options
	ctx           context.Context
	stack         []view
	width, height int
	status        live.Status
	flash         string            // what has just been done
	busy          bool              // a statement runs
	typed         []tea.KeyPressMsg // keys that came meanwhile
	failure       error
}

func newModel(ctx context.Context, o Options) *model {
	m := &model{Options: o, ctx: ctx, width: 80, height: 24}
	m.status, _ = o.Watcher.Load()
	return m
}

// Messages to the model.
type (
	statusChanged struct{}
	loaded        struct {
		to   view
		then func() tea.Cmd
	}
	// resized tells a view that it has another size, or is on top again.
	resized struct{}
)

// Init shows the menu, or what there is to wait for.
func (m *model) Init() tea.Cmd {
	first := tea.Cmd(nil)
	if m.status.Synced {
		first = m.push(newMenu(m))
	} else {
		first = m.push(&syncView{m: m})
	}
	return tea.Batch(first, m.watch())
}

// watch waits for the next status.
func (m *model) watch() tea.Cmd {
	st, changed := m.Watcher.Load()
	m.status = st
	return func() tea.Msg {
		select {
		case <-changed:
		case <-m.ctx.Done():
		}
		return statusChanged{}
	}
}

// Update handles one message.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		if m.width == msg.Width && m.height == msg.Height {
			return m, nil
		}
		m.width, m.height = msg.Width, msg.Height
		return m, m.top().update(resized{})
	case statusChanged:
		if m.ctx.Err() != nil {
			return m, tea.Quit
		}
		cmd := m.watch()
		return m, tea.Batch(cmd, m.top().update(msg))
	case loaded:
		m.busy = false
		var cmd tea.Cmd
		if slices.Contains(m.stack, msg.to) {
			cmd = msg.then()
		}
		return m, tea.Batch(cmd, m.replay())
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, m.top().update(msg)
}

func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	if msg.String() == "ctrl+c" {
		return tea.Quit
	}
	if m.busy {
		if len(m.typed) < typeAhead {
			m.typed = append(m.typed, msg)
		}
		return nil
	}
	if msg.String() == "alt+esc" { // what a terminal makes of two in quick succession
		esc := tea.KeyPressMsg{Code: tea.KeyEscape}
		return tea.Batch(m.key(esc), m.key(esc))
	}
	m.flash = ""
	if msg.String() == "esc" && len(m.stack) > 1 {
		if c, ok := m.top().(*choice); !ok || !c.filtering() {
			return m.pop()
		}
	}
	return m.top().update(msg)
}

// replay handles the keys that were pressed while a statement ran.
func (m *model) replay() tea.Cmd {
	var cmds []tea.Cmd
	for len(m.typed) > 0 && !m.busy {
		msg := m.typed[0]
		m.typed = m.typed[1:]
		cmds = append(cmds, m.key(msg))
	}
	return tea.Batch(cmds...)
}

func (m *model) top() view { return m.stack[len(m.stack)-1] }

func (m *model) push(v view) tea.Cmd {
	m.stack = append(m.stack, v)
	return v.update(resized{})
}

func (m *model) pop() tea.Cmd {
	m.stack = m.stack[:len(m.stack)-1]
	return m.top().update(resized{})
}

// swap puts v in the place of the topmost view.
func (m *model) swap(v view) tea.Cmd {
	m.stack[len(m.stack)-1] = v
	return v.update(resized{})
}

// home goes back to the menu and says what has been done.
func (m *model) home(done string) tea.Cmd {
	m.stack, m.flash = m.stack[:1], done
	return m.top().update(resized{})
}

// work runs a statement aside. What do returns is called by the event loop, unless v is gone.
func (m *model) work(v view, do func(ctx context.Context) (then func() tea.Cmd)) tea.Cmd {
	m.busy = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, workLimit)
		defer cancel()
		return loaded{v, do(ctx)}
	}
}

// failed shows an error on a view of its own.
func (m *model) failed(err error) func() tea.Cmd {
	return func() tea.Cmd {
		m.flash = ""
		return m.push(newNotice(m, "Refused", err.Error()))
	}
}

// bodySize is what render will be given.
func (m *model) bodySize() (width, height int) { return max(m.width-2, 20), max(m.height-chrome, 4) }

// View draws the screen.
func (m *model) View() tea.View {
	w, h := m.bodySize()
	body := lipgloss.NewStyle().MaxHeight(h).Height(h).MaxWidth(w + 1).PaddingLeft(1).Render(m.top().render(w, h))
	v := tea.NewView(strings.Join([]string{m.header(), "", body, m.helpLine(), m.statusLine()}, "\n"))
	v.AltScreen = true
	v.WindowTitle = "ddb snap " + m.ID
	return v
}

func (m *model) header() string {
	var path []string
	for _, v := range m.stack {
		if t := v.title(); t != "" {
			path = append(path, t)
		}
	}
	left, middle := " ddb snap "+m.ID+"  ", " "+strings.Join(path, " › ")
	room := m.width - lipgloss.Width(left)
	if free := room - lipgloss.Width(middle) - lipgloss.Width(m.Database) - 3; free >= 0 {
		middle += strings.Repeat(" ", free+2) + m.Database
	}
	return headerStyle.Render(left) + headerPath.Render(fit(middle, room))
}

func (m *model) helpLine() string {
	switch {
	case m.flash != "":
		return doneStyle.Render(fit(" ✓ "+m.flash, m.width))
	case m.busy:
		return faint.Render(" …")
	}
	return faint.Render(squeeze(" "+m.top().help(), m.width))
}

func (m *model) statusLine() string {
	dot, style := "● ", onlineStyle
	if !m.status.Online {
		dot, style = "○ ", offlineStyle
	}
	line := m.status.Line(time.Now())
	if m.status.Conflicts > 0 {
		line += " (menu: 7)"
	}
	return style.Render(squeeze(" "+dot+line, m.width))
}
