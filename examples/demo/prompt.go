package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/internal/cli"
)

const (
	statementTimeout = 30 * time.Second
	settleTimeout    = 20 * time.Second
	maxRows          = 50 // shown of a result
)

// prompt obeys the lines of in until ctx ends or quit. The end of in is no reason to stop.
func (f *fleet) prompt(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := make(chan string) // the reader blocks on it until the prompt takes the line
	go func() {
		// A read from a terminal cannot be called off: this goroutine ends with the process.
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				lines = nil // never ready again
				continue
			}
			err := f.obey(ctx, out, strings.TrimRight(strings.TrimSpace(line), ";"))
			if errors.Is(err, errQuit) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(out, "error:", cli.Line(err))
			}
		}
	}
}

// obey carries out one line.
func (f *fleet) obey(ctx context.Context, out io.Writer, line string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(verb) {
	case "":
		return nil
	case "quit", "exit":
		return errQuit
	case "help":
		fmt.Fprintln(out, strings.TrimSpace(help))
		return nil
	case "status":
		return printNodes(out, f.master().Nodes())
	case "at":
		id, query, _ := strings.Cut(rest, " ")
		if strings.TrimSpace(query) == "" {
			return errors.New("at wants a node and SQL: at r1 SELECT count(*) FROM students")
		}
		n, err := f.find(id, false)
		if err != nil {
			return err
		}
		if n.cluster == nil {
			return fmt.Errorf("%s is stopped: type start %s first", id, id)
		}
		return execute(ctx, out, n.cluster, query)
	case "stop", "start", "cut", "heal":
		return f.operate(ctx, out, strings.ToLower(verb), rest)
	}
	return execute(ctx, out, f.master(), line)
}

// operate does to a follower what the verb says.
func (f *fleet) operate(ctx context.Context, out io.Writer, verb, id string) error {
	n, err := f.find(id, true)
	if err != nil {
		return err
	}
	switch verb {
	case "stop":
		err = n.stop()
	case "start":
		if err = f.start(ctx, n); err == nil {
			err = settled(ctx, n.cluster)
		}
	case "cut":
		n.link.CutAll()
	case "heal":
		if n.link.HealAll(); n.cluster != nil {
			err = settled(ctx, n.cluster)
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s done; type status to see it\n", id, verb)
	return nil
}

// settled waits until the follower has nothing to receive and nothing to hand over.
func settled(ctx context.Context, c *ddb.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		nodes, changed := c.Watch()
		n := nodes[0]
		behind := slices.ContainsFunc(nodes, func(m ddb.NodeStatus) bool { return m.Role == ddb.Master && m.LSN > n.LSN })
		if n.State == ddb.Active && n.Pending == 0 && !behind {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s is %s with %d pending: %s", nodes[0].ID, nodes[0].State, nodes[0].Pending, nodes[0].Reason)
		}
	}
}

// execute runs a statement and prints what came of it.
func execute(ctx context.Context, out io.Writer, c *ddb.Cluster, query string) error {
	if word, _, _ := strings.Cut(strings.TrimSpace(query), " "); !yieldsRows(word) {
		res, err := c.ExecContext(ctx, query)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "done, rows changed: %d\n", n)
		return nil
	}
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	return printRows(out, rows)
}

func yieldsRows(word string) bool {
	switch strings.ToUpper(word) {
	case "SELECT", "WITH", "VALUES", "PRAGMA", "EXPLAIN":
		return true
	}
	return false
}

func printRows(out io.Writer, rows *sql.Rows) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(columns, "\t"))
	n := 0
	for ; rows.Next(); n++ {
		if n >= maxRows {
			continue // counted only
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		cells := make([]string, len(values))
		for i, v := range values {
			cells[i] = cell(v)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := errors.Join(rows.Err(), w.Flush()); err != nil {
		return err
	}
	if n > maxRows {
		fmt.Fprintf(out, "... and %d more\n", n-maxRows)
	}
	return nil
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return string(v)
	}
	return fmt.Sprint(v)
}

func printNodes(out io.Writer, nodes []ddb.NodeStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "node\trole\tstate\tentry\tlag\tpending\treads\twrites\twhy")
	for _, n := range nodes {
		lag := n.Lag.Round(time.Millisecond).String()
		if n.Lag == ddb.LagUnknown {
			lag = "unknown"
		}
		at, pending := fmt.Sprintf("%d/%d", n.Epoch, n.LSN), fmt.Sprint(n.Pending)
		if n.Pending == ddb.PendingUnknown {
			at, pending = "unknown", "unknown"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", n.ID, n.Role, n.State, at, lag, pending, n.Reads, n.Writes, n.Reason)
	}
	return w.Flush()
}
