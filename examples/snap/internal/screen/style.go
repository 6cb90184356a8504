package screen

import (
	"slices"
	"strings"

	"charm.land/huh/v2"
	"charm.land/lipgloss/v2"

	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

// The sixteen colours of the terminal's own palette are readable on dark and on light ground.
var (
	headerStyle  = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("15")).Background(lipgloss.Color("4"))
	headerPath   = lipgloss.NewStyle().Foreground(lipgloss.Color("15")).Background(lipgloss.Color("8"))
	onlineStyle  = lipgloss.NewStyle().Foreground(lipgloss.Color("0")).Background(lipgloss.Color("2"))
	offlineStyle = lipgloss.NewStyle().Foreground(lipgloss.Color("0")).Background(lipgloss.Color("3"))
	doneStyle    = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	errorStyle   = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	bold         = lipgloss.NewStyle().Bold(true)
	faint        = lipgloss.NewStyle().Faint(true)
	chosen       = lipgloss.NewStyle().Reverse(true)
	differs      = lipgloss.NewStyle().Foreground(lipgloss.Color("3")).Bold(true)
	theme        = huh.ThemeFunc(huh.ThemeBase16)
)

// fit cuts or fills a line without styles to the width.
func fit(s string, width int) string {
	if width <= 0 {
		return ""
	}
	n := lipgloss.Width(s)
	if n <= width {
		return s + strings.Repeat(" ", width-n)
	}
	runes := []rune(s)
	for n = min(len(runes), width); n > 0 && lipgloss.Width(string(runes[:n])) > width-1; n-- {
	}
	return fit(string(runes[:n])+"…", width)
}

// squeeze is fit for a line of parts between dots: the last and the first ones stay longest.
func squeeze(s string, width int) string {
	const dot = " · "
	parts := strings.Split(s, dot)
	for len(parts) > 2 && lipgloss.Width(strings.Join(parts, dot)) > width {
		parts = slices.Delete(parts, len(parts)-2, len(parts)-1)
	}
	return fit(strings.Join(parts, dot), width)
}

// wrap breaks a text into lines of the width.
func wrap(s string, width int) []string {
	return strings.Split(lipgloss.NewStyle().Width(max(width, 1)).Render(s), "\n")
}

// rowLines lays a row out, one column below the other.
func rowLines(t *records.Table, row records.Row, width int) []string {
	names := 0
	for _, c := range t.Columns {
		names = max(names, lipgloss.Width(c.Name))
	}
	names = min(names, width/2)
	var lines []string
	for i, c := range t.Columns {
		value := records.Show(row[i])
		for j, part := range wrap(value, width-names-2) {
			name := ""
			if j == 0 {
				name = c.Name
			}
			if row[i] == nil {
				part = faint.Render(part)
			}
			lines = append(lines, bold.Render(fit(name, names))+"  "+part)
		}
	}
	return lines
}

// scroll shows the part of lines that begins at *from, which it keeps within bounds.
func scroll(lines []string, from *int, height int) string {
	*from = max(min(*from, len(lines)-height), 0)
	return strings.Join(lines[*from:min(*from+height, len(lines))], "\n")
}

// step moves a scroll position by a key, and reports whether it was one that moves.
func step(key string, from *int, height int) bool {
	switch key {
	case "up", "k":
		*from--
	case "down", "j":
		*from++
	case "pgup":
		*from -= height
	case "pgdown", "space":
		*from += height
	case "home":
		*from = 0
	case "end":
		*from = 1 << 30
	default:
		return false
	}
	*from = max(*from, 0)
	return true
}
