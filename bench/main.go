// Command bench measures ddb against the same work without it, and prints one
// table. Every figure that has a goal is taken several times in turn with what it is compared
// to, and the median stands.
//
//	cd bench && go run .            # everything, some 20 minutes on two cores
//	go run . -list                  # the rows
//	go run . -run sqlite -quick     # those whose name matches, with less load: to see that it works
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if os.Getenv(asFleet) != "" {
		return runFleet(ctx, args)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	pattern := flags.String("run", "", "measure only the rows whose name matches this regular `expression`")
	quick := flags.Bool("quick", false, "less load and fewer rounds; the figures are not for the table")
	rounds := flags.Int("rounds", 5, "how `often` each figure is taken")
	list := flags.Bool("list", false, "list the rows and stop")
	dir := flags.String("dir", "", "`folder` for the databases (default: the system's for temporary files)")
	profile := flags.String("cpuprofile", "", "write a CPU profile to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds is %d, at least 1 is needed", *rounds)
	}
	if *quick {
		*rounds = min(*rounds, 3)
	}
	e := &env{rounds: *rounds, quick: *quick}
	if e.dir, err = os.MkdirTemp(*dir, "ddb-bench-*"); err != nil {
		return err
	}
	defer e.close()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	t := newTable(os.Stdout)
	for _, r := range rows {
		if !match.MatchString(r.name) {
			continue
		}
		if *list {
			fmt.Printf("%-22s %s\n", r.name, r.what)
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		figures, err := r.measure(ctx, e)
		if err != nil {
			figures = nil
		}
		t.add(r, figures, err)
		fmt.Fprintf(os.Stderr, "%s: %v\n", r.name, time.Since(start).Round(time.Second))
	}
	if !*list {
		t.print(fmt.Sprintf("%s, %s/%s, %d cores, %d rounds%s", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *rounds, map[bool]string{true: ", quick"}[*quick]))
	}
	return nil
}

// row is one line, or a few, of the table.
type row struct {
	name    string
	what    string
	measure func(ctx context.Context, e *env) ([]figure, error)
}

// figure is one number that was measured and, if it has one, its goal.
type figure struct {
	what  string // added to the row's, if not empty
	value float64
	unit  string // "x" for a ratio
	goal  float64
	most  bool   // the goal is the most it may be, not the least
	from  string // what the number was made of
}

func (f figure) met() bool {
	if f.most {
		return f.value <= f.goal
	}
	return f.value >= f.goal
}

var rows = []row{
	{"sqlite-32", "SQLite: 32 writers, a replica following over TCP, against raw *sql.DB", sqliteWriters(32, 8)},
	{"sqlite-1", "SQLite: 1 writer, a replica following over TCP, against raw *sql.DB", sqliteWriters(1, 0.8)},
	{"sqlite-lag", "SQLite: lag at rest, commit on the master to visible on the replica", lagAtRest(sqliteEngine, 3*time.Millisecond)},
	{"sqlite-catchup", "SQLite: a replica that missed 1,000,000 changes over 100,000 rows", catchUp(sqliteEngine)},
	{"sqlite-new", "SQLite: a new replica of a master with 1,000,000 rows is active after", newReplica},
	{"sqlite-million", "SQLite: one transaction that changes 1,000,000 rows, memory above idle", bigTransaction(sqliteEngine)},
	{"sqlite-schema", "SQLite: CREATE TABLE on a master with a replica, against raw *sql.DB", schemaStatements(sqliteEngine)},
	{"query-added", "Query through Cluster: added to a driver that does nothing", queryAdded},
	{"mariadb-query", "MariaDB: Query through Cluster against raw *sql.DB", mariadbQuery},
	{"mariadb-16", "MariaDB: 16 writers with capture on, no replica, against raw *sql.DB", mariadbWriters},
	{"mariadb-level", "MariaDB: a replica on the same machine is level after 16 writers stop", timeToLevel},
	{"mariadb-lag", "MariaDB: lag at rest, commit on the master to visible on the replica", lagAtRest(mariadbEngine, 5*time.Millisecond)},
	{"mariadb-catchup", "MariaDB: a replica that missed 1,000,000 changes over 100,000 rows", catchUp(mariadbEngine)},
	{"mariadb-snapshot", "MariaDB: snapshot of 2,000,000 rows against mariadb-dump | mariadb", snapshot},
	{"mariadb-million", "MariaDB: one transaction that changes 1,000,000 rows, memory above idle", bigTransaction(mariadbEngine)},
	{"mariadb-schema", "MariaDB: CREATE TABLE on a master with a replica, against raw *sql.DB", schemaStatements(mariadbEngine)},
	{"snap-sqlite-1", "Snap on SQLite: 1 local writer against raw *sql.DB", snapWriters(sqliteEngine, sqliteItems, 1, 0.7)},
	{"snap-sqlite-32", "Snap on SQLite: 32 local writers against raw *sql.DB", snapWriters(sqliteEngine, sqliteItems, 32, 5)},
	{"snap-mariadb-16", "Snap on MariaDB: 16 local writers against raw *sql.DB", snapWriters(mariadbEngine, mariadbItems, 16, 0.7)},
	{"snap-sqlite-backlog", "Snap on SQLite: 100,000 pending rows exchanged", backlog(sqliteEngine, sqliteItems, 1, 20_000)},
	{"snap-mariadb-backlog", "Snap on MariaDB: 100,000 pending rows exchanged", backlog(mariadbEngine, mariadbItems, 10, 10_000)},
	{"snap-sqlite-conflicts", "Snap on SQLite: 10,000 conflicts settled", manyConflicts(sqliteEngine)},
	{"snap-mariadb-conflicts", "Snap on MariaDB: 10,000 conflicts settled", manyConflicts(mariadbEngine)},
	{"snap-200-inmem", "200 snaps in one process with their master, in memory", fleetInProcess},
	{"snap-200-tcp", "200 snaps in one process, over TCP", fleetOverTCP},
}

// table gathers the figures and prints them as Markdown.
type table struct {
	out   *os.File
	lines [][]string
}

func newTable(out *os.File) *table {
	return &table{out: out, lines: [][]string{{"what", "goal", "measured", "met", "from"}}}
}

func (t *table) add(r row, figures []figure, err error) {
	if err != nil {
		t.lines = append(t.lines, []string{r.what, "", "failed", "no", err.Error()})
	}
	for _, f := range figures {
		what, goal, met := r.what, "", ""
		if f.what != "" {
			what += ": " + f.what
		}
		if f.goal != 0 {
			goal, met = ">= "+show(f.goal, f.unit), "no"
			if f.most {
				goal = "<= " + show(f.goal, f.unit)
			}
			if f.met() {
				met = "yes"
			}
		}
		t.lines = append(t.lines, []string{what, goal, show(f.value, f.unit), met, f.from})
		fmt.Fprintf(os.Stderr, "  %s: %s (%s) %s\n", what, show(f.value, f.unit), goal, f.from)
	}
}

func show(v float64, unit string) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f %s", v, unit)
	case v >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}

func (t *table) print(title string) {
	width := make([]int, len(t.lines[0]))
	for _, l := range t.lines {
		for i, c := range l {
			width[i] = max(width[i], len(c))
		}
	}
	fmt.Fprintf(t.out, "%s\n\n", title)
	for n, l := range t.lines {
		for i, c := range l {
			fmt.Fprintf(t.out, "| %-*s ", width[i], c)
		}
		fmt.Fprintln(t.out, "|")
		if n == 0 {
			for i := range l {
				fmt.Fprintf(t.out, "| %s ", strings.Repeat("-", width[i]))
			}
			fmt.Fprintln(t.out, "|")
		}
	}
}
