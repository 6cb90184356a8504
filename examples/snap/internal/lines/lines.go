// Package lines is the front end without a terminal: the menu as plain prompts, one answer
// on each line of the input, so that scripts can drive it. The end of the input is Exit; a
// line that is "<" goes back to the menu.
package lines

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/snap/internal/live"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

const (
	pageRows = 20
	maxLine  = 64 << 20 // bytes of one answer
	back     = "<"
)

// ErrRefused is what a run returns in which answers were refused, so that a script hears of it.
var ErrRefused = errors.New("answers that were refused")

// Reasons to leave what is being asked.
var (
	errExit = errors.New("the input has ended")
	errBack = errors.New("back to the menu")
)

// Session is one run through the menus.
type Session struct {
	Store     *records.Store
	Watcher   *live.Watcher
	Conflicts records.Conflicts
	Policy    string // that the user expects of the master, "" for none
	In        io.Reader
	Out       io.Writer

	answers chan string
	refused int
}

// Run serves the menu until Exit, the end of the input, or ctx.
func (s *Session) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.answers = make(chan string)
	go s.read(ctx) // ends with the input; nothing can interrupt a read of a pipe
	if err := s.firstCopy(ctx); err != nil {
		return err
	}
	for {
		err := s.menu(ctx)
		switch {
		case errors.Is(err, errExit) && s.refused > 0:
			return fmt.Errorf("%w: %d", ErrRefused, s.refused)
		case errors.Is(err, errExit):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, errBack):
			s.refuse("%v", err)
		}
	}
}

// refuse says why an answer is not taken.
func (s *Session) refuse(format string, args ...any) {
	s.refused++
	s.say("refused: "+format+"\n", args...)
}

func (s *Session) read(ctx context.Context) {
	defer close(s.answers)
	in := bufio.NewScanner(s.In)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		select {
		case s.answers <- in.Text():
		case <-ctx.Done():
			return
		}
	}
}

func (s *Session) say(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }

// ask returns the next line of the input.
func (s *Session) ask(ctx context.Context, format string, args ...any) (string, error) {
	s.say(format, args...)
	select {
	case line, ok := <-s.answers:
		s.say("\n")
		switch {
		case !ok:
			return "", errExit
		case line == back:
			return "", errBack
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// choose asks for one of several things, by number or by name. 0 is Back.
func (s *Session) choose(ctx context.Context, prompt string, options []string) (int, error) {
	for i, o := range options {
		s.say("%d - %s\n", i+1, o)
	}
	s.say("0 - Back\n")
	for {
		text, err := s.ask(ctx, "%s: ", prompt)
		if err != nil {
			return 0, err
		}
		text = strings.TrimSpace(text)
		n, err := strconv.Atoi(text)
		switch {
		case text == "0" || strings.EqualFold(text, "back"):
			return 0, errBack
		case err == nil && n >= 1 && n <= len(options):
			return n - 1, nil
		case slices.Contains(options, text):
			return slices.Index(options, text), nil
		}
		s.refuse("%q is none of these", text)
	}
}

// firstCopy waits until the database can be used.
func (s *Session) firstCopy(ctx context.Context) error {
	said := ""
	for {
		st, changed := s.Watcher.Load()
		if st.Synced {
			return nil
		}
		line := "waiting for the first copy: " + st.Reason
		if p := st.Progress; p.Table != "" {
			line = "first copy: " + percent(p)
		}
		if line != said {
			s.say("%s\n", line)
			said = line
		}
		if st.State == ddb.Failed {
			return fmt.Errorf("the node has failed: %s", st.Reason)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// percent says how far the first copy is, in tenths, so that a script's log stays short.
func percent(p ddb.Progress) string {
	if p.Total <= 0 {
		return "copying"
	}
	return fmt.Sprintf("%d %% of about %s", min(p.Rows*10/p.Total*10, 90), records.Rows(p.Total, ""))
}

func (s *Session) menu(ctx context.Context) error {
	st, _ := s.Watcher.Load()
	s.say("\n%s\n1 - INSERT\n2 - UPDATE\n3 - DELETE\n4 - SELECT ALL\n5 - SEARCH\n6 - Exit\n7 - CONFLICTS\n", st.Line(time.Now()))
	text, err := s.ask(ctx, "Choose: ")
	if err != nil {
		return err
	}
	switch strings.ToUpper(strings.TrimSpace(text)) {
	case "1", "INSERT":
		return s.insert(ctx)
	case "2", "UPDATE":
		return s.update(ctx)
	case "3", "DELETE":
		return s.delete(ctx)
	case "4", "SELECT ALL":
		return s.selectAll(ctx)
	case "5", "SEARCH":
		return s.search(ctx)
	case "6", "EXIT":
		return errExit
	case "7", "CONFLICTS":
		return s.conflicts(ctx)
	}
	return fmt.Errorf("%q is not in the menu; choose 1 to 7", text)
}

// table asks for one of the tables.
func (s *Session) table(ctx context.Context) (*records.Table, error) {
	names, err := s.Store.Tables(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("the database has no tables yet; create them on the master")
	}
	i, err := s.choose(ctx, "Table", names)
	if err != nil {
		return nil, err
	}
	return s.Store.Table(ctx, names[i])
}

// form asks for each field until its answer is accepted.
func (s *Session) form(ctx context.Context, fields []records.Field) ([]string, error) {
	texts := make([]string, len(fields))
	for i, f := range fields {
		for {
			shown := ""
			if keeps := cmp.Or(f.Initial, f.Empty); keeps != "" {
				shown = " [" + keeps + "]"
			}
			text, err := s.ask(ctx, "%s (%s)%s: ", f.Column.Name, f.Describe(), shown)
			if err != nil {
				return nil, err
			}
			if text == "" {
				text = f.Initial
			}
			if err := f.Check(text); err != nil {
				s.refuse("%s: %v", f.Column.Name, err)
				continue
			}
			texts[i] = text
			break
		}
	}
	return texts, nil
}

// confirm asks a question that only a plain yes answers.
func (s *Session) confirm(ctx context.Context, question string) (bool, error) {
	text, err := s.ask(ctx, "%s (y/n): ", question)
	yes := strings.EqualFold(strings.TrimSpace(text), "y") || strings.EqualFold(strings.TrimSpace(text), "yes")
	if err == nil && !yes {
		s.say("nothing written\n")
	}
	return yes, err
}

func (s *Session) row(t *records.Table, row records.Row) {
	for i, c := range t.Columns {
		s.say("  %s = %s\n", c.Name, records.Show(row[i]))
	}
}
