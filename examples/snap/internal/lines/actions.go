package lines

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

func (s *Session) insert(ctx context.Context) error {
	t, err := s.table(ctx)
	if err != nil {
		return err
	}
	texts, err := s.form(ctx, t.InsertFields())
	if err != nil {
		return err
	}
	key, err := s.Store.Insert(ctx, t, texts)
	if err != nil {
		return err
	}
	s.Watcher.Poke()
	s.say("inserted into %s %s\n", t.Name, key)
	return nil
}

func (s *Session) update(ctx context.Context) error {
	t, row, err := s.find(ctx)
	if err != nil {
		return err
	}
	s.say("an empty answer keeps what is in brackets\n")
	texts, err := s.form(ctx, t.UpdateFields(row))
	if err != nil {
		return err
	}
	changes, err := t.Changes(row, texts)
	if err != nil {
		return err
	}
	for _, c := range changes {
		s.say("  %s: %s -> %s\n", c.Column.Name, records.Show(c.Old), records.Show(c.New))
	}
	yes, err := s.confirm(ctx, "Write these changes to "+t.KeyText(row)+"?")
	if err != nil || !yes {
		return err
	}
	if err := s.Store.Update(ctx, t, row, changes); err != nil {
		return err
	}
	s.Watcher.Poke()
	s.say("updated %s %s\n", t.Name, t.KeyText(row))
	return nil
}

func (s *Session) delete(ctx context.Context) error {
	t, row, err := s.find(ctx)
	if err != nil {
		return err
	}
	yes, err := s.confirm(ctx, "Delete "+t.KeyText(row)+" from "+t.Name+"?")
	if err != nil || !yes {
		return err
	}
	if err := s.Store.Delete(ctx, t, row); err != nil {
		return err
	}
	s.Watcher.Poke()
	s.say("deleted %s from %s\n", t.KeyText(row), t.Name)
	return nil
}

// find asks for a table and one row of it, and shows the row.
func (s *Session) find(ctx context.Context) (*records.Table, records.Row, error) {
	t, err := s.table(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(t.Key) == 0 {
		return nil, nil, records.ErrNoKey
	}
	var row records.Row
	by, err := s.choose(ctx, "Find the row", []string{"by its key", "by searching"})
	if err == nil && by == 0 {
		var texts []string
		if texts, err = s.form(ctx, t.KeyFields()); err == nil {
			row, err = s.Store.Find(ctx, t, texts)
		}
	} else if err == nil {
		var text string
		if text, err = s.ask(ctx, "Text in any column: "); err == nil {
			var f records.Filter
			if f, err = t.SearchText(text); err == nil {
				row, err = s.browse(ctx, records.View{Table: t, Filter: f}, true)
			}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	s.row(t, row)
	return t, row, nil
}

func (s *Session) selectAll(ctx context.Context) error {
	t, err := s.table(ctx)
	if err == nil {
		_, err = s.browse(ctx, records.View{Table: t}, false)
	}
	return err
}

func (s *Session) search(ctx context.Context) error {
	t, err := s.table(ctx)
	if err != nil {
		return err
	}
	by, err := s.choose(ctx, "Search", []string{"a text in all columns", "a condition per column"})
	if err != nil {
		return err
	}
	var f records.Filter
	if by == 0 {
		var text string
		if text, err = s.ask(ctx, "Text: "); err == nil {
			f, err = t.SearchText(text)
		}
	} else {
		f, err = s.conditions(ctx, t)
	}
	if err == nil {
		_, err = s.browse(ctx, records.View{Table: t, Filter: f}, false)
	}
	return err
}

func (s *Session) conditions(ctx context.Context, t *records.Table) (records.Filter, error) {
	s.say("%s\n", records.ConditionHelp)
	texts := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		for {
			text, err := s.ask(ctx, "%s (%s): ", c.Name, c.Describe())
			if err != nil {
				return records.Filter{}, err
			}
			if err := t.CheckCondition(c, text); err != nil {
				s.refuse("%s: %v", c.Name, err)
				continue
			}
			texts[i] = text
			break
		}
	}
	return t.SearchColumns(texts)
}

// browse prints a view page by page. With pick it asks for the number of a row.
func (s *Session) browse(ctx context.Context, v records.View, pick bool) (records.Row, error) {
	p, err := s.Store.First(ctx, v, pageRows)
	for err == nil {
		s.page(v, p)
		if len(p.Rows) == 0 || !pick && !p.More && !p.Less {
			return nil, errBack
		}
		what := "n - next, p - previous, f - first, l - last, 0 - Back: "
		if pick {
			what = "Number of the row, " + what
		}
		var text string
		if text, err = s.ask(ctx, "%s", what); err != nil {
			return nil, err
		}
		switch text = strings.TrimSpace(text); text {
		case "0":
			return nil, errBack
		case "n":
			p, err = s.Store.Next(ctx, p, pageRows)
		case "p":
			p, err = s.Store.Previous(ctx, p, pageRows)
		case "f":
			p, err = s.Store.First(ctx, v, pageRows)
		case "l":
			p, err = s.Store.Last(ctx, v, pageRows)
		default:
			if n, bad := strconv.Atoi(text); pick && bad == nil && n >= 1 && n <= len(p.Rows) {
				return p.Rows[n-1], nil
			}
			s.refuse("%q is none of these", text)
		}
	}
	return nil, err
}

func (s *Session) page(v records.View, p records.Page) {
	names := []string{"#"}
	for _, c := range v.Table.Columns {
		names = append(names, c.Name)
	}
	var lines [][]string
	for i, r := range p.Rows {
		cells := []string{strconv.Itoa(i + 1)}
		for _, v := range r {
			cells = append(cells, records.Show(v))
		}
		lines = append(lines, cells)
	}
	_ = records.PrintTable(s.Out, names, lines) // an Out that is gone shows with the next answer
	s.say("%s\n", p.Range())
}

func (s *Session) conflicts(ctx context.Context) error {
	list, err := s.Conflicts.Conflicts(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		s.say("no conflicts wait\n")
		return nil
	}
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = fmt.Sprintf("%s %s %s: %s", c.At.Local().Format(time.DateTime), c.Table, records.KeyOf(c), records.Standing(c))
	}
	i, err := s.choose(ctx, "Conflict", names)
	if err != nil {
		return err
	}
	return s.settle(ctx, list[i])
}

func (s *Session) settle(ctx context.Context, c ddb.Conflict) error {
	s.say("policy %s: %s\nreason: %s\n", c.Policy, records.Standing(c), c.Reason)
	if s.Policy != "" && s.Policy != c.Policy {
		s.say("--policy expected %s, but the master's setting decides\n", s.Policy)
	}
	var rows [][]string
	for _, side := range records.Sides(c) {
		mark := ""
		if side.Differs {
			mark = "*"
		}
		rows = append(rows, []string{mark, side.Column, side.Base, side.Local, side.Remote})
	}
	if err := records.PrintTable(s.Out, []string{"", "column", "before", c.Origin, "master"}, rows); err != nil {
		return err
	}
	what, err := s.choose(ctx, "Do", []string{"retry with the values of " + records.Loser(c), "dismiss"})
	if err != nil {
		return err
	}
	if what == 0 {
		err = s.Conflicts.RetryConflict(ctx, c.ID)
	} else {
		err = s.Conflicts.DismissConflict(ctx, c.ID)
	}
	if err != nil {
		return err
	}
	s.Watcher.Poke()
	s.say("%s\n", []string{"written again", "dismissed"}[what])
	return nil
}
