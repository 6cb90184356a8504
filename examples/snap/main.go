// Snap runs an edge node of a ddb cluster with a screen for its user: a shop, a branch or a laptop
// that lists, searches and changes its own copy of the data, with or without a link to the master.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/internal/cli"
	"github.com/ddb-project/ddb/examples/snap/internal/lines"
	"github.com/ddb-project/ddb/examples/snap/internal/live"
	"github.com/ddb-project/ddb/examples/snap/internal/records"
	"github.com/ddb-project/ddb/examples/snap/internal/screen"
)

func main() { cli.Main("snap", run) }

// settings are the flags.
type settings struct {
	node               cli.Node
	id, master, policy string
	exec               *string // nil without --exec
	rejoin             bool
}

func parse(args []string) (settings, error) {
	var s settings
	fs := cli.NewFlags("snap", "Snap runs an edge node of a ddb cluster: it has the whole database, changes it locally, and\nexchanges the changes with the master whenever the link is up.", `
In a terminal it shows a menu: 1 INSERT, 2 UPDATE, 3 DELETE, 4 SELECT ALL, 5 SEARCH, 6 Exit,
7 CONFLICTS. Without one (input from a pipe) it takes the same menu as plain lines, "<" goes back
to the menu, and the end of the input is Exit; status 1 if an answer was refused. A new snap needs an
empty database and copies the master's into it first. What is pending at Exit is kept and exchanged
at the next start; --exec and lines from a pipe wait up to 10 seconds for the exchange if the master
can be reached, and say on stderr what is pending still.`)
	fs.StringVar(&s.id, "id", "snap1", "`name` of this snap, unique in the cluster")
	s.node.Register(fs, "sqlite:ddb-data/ID.db", "off")
	fs.StringVar(&s.master, "master", "127.0.0.1:7400", "`address` of the master")
	fs.StringVar(&s.policy, "policy", "", "`name` of the policy that this snap expects for conflicts: master, snap, newest or\n        merge. It sets nothing: the master's --policy decides, and a conflict settled otherwise says so")
	exec := fs.String("exec", "", "run one `SQL` statement, print its rows, and exit; status 1 after an error")
	fs.BoolVar(&s.rejoin, "rejoin", false, "let a new copy of the master replace this node's data if its history differs")
	quiet := fs.Lookup("log-level")
	quiet.DefValue, s.node.LogLevel = "off", "off" // a log would be written across the screen
	if err := cli.Parse(fs, args); err != nil {
		return s, err
	}
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "exec" {
			s.exec = exec
		}
	})
	if s.exec != nil && *s.exec == "" {
		return s, cli.Usage("--exec wants a statement")
	}
	if err := cli.CheckAddress("--master", s.master); err != nil {
		return s, err
	}
	s.node.Fill("sqlite:ddb-data/"+s.id+".db", "off")
	if s.screen() && s.node.LogLevel != "off" && term.IsTerminal(int(os.Stderr.Fd())) {
		return s, cli.Usage("--log-level %s would write across the screen; add 2>FILE to send the log to a file", s.node.LogLevel)
	}
	return s, nil
}

// screen reports whether a person sits at a terminal.
func (s settings) screen() bool {
	return s.exec == nil && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}

func (s settings) options() (ddb.Options, error) {
	o, err := s.node.Options(ddb.Snap)
	if err != nil {
		return o, err
	}
	o.ID, o.Master, o.Rejoin = s.id, s.master, s.rejoin
	if s.policy != "" {
		if _, err := ddb.ParsePolicy(s.policy); err != nil {
			return o, cli.Usage("--policy %q is none of master, snap, newest, merge", s.policy)
		}
	}
	return o, nil
}

// expected is the full name of --policy, "" if it was not given. What it says is never more than
// compared with what the master did.
func (s settings) expected() string {
	p, err := ddb.ParsePolicy(s.policy)
	if err != nil {
		return ""
	}
	return p.String()
}

func run(ctx context.Context, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	o, err := s.options()
	if err != nil {
		return err
	}
	watcher := live.New()
	watcher.Words = cli.Line
	o.OnProgress = watcher.Progress
	cluster, db, err := s.node.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close(), db.Close()) }()
	watcher.Start(cluster, func(ctx context.Context) (int, error) {
		list, err := cluster.Conflicts(ctx)
		return len(list), err
	})
	defer watcher.Stop()
	stop, err := s.serve(ctx, cluster)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return s.front(ctx, cluster, watcher)
}

// front runs what the user sees until it ends.
func (s settings) front(ctx context.Context, cluster *ddb.Cluster, watcher *live.Watcher) error {
	dialect := records.SQLite
	if !strings.HasPrefix(s.node.DB, "sqlite:") {
		dialect = records.MariaDB
	}
	store := records.New(cluster, dialect)
	switch {
	case s.exec != nil:
		err := watcher.Synced(ctx, func(reason string) {
			fmt.Fprintf(os.Stderr, "snap %s: waiting for the first copy: %s\n", s.id, reason)
		})
		if err == nil {
			if err = store.Run(ctx, os.Stdout, *s.exec); err == nil {
				s.exchange(ctx, watcher)
			}
		}
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return fmt.Errorf("interrupted: %v", err) // what was asked for has not been done, so this is no clean end
		}
		return err
	case s.screen():
		err := screen.Run(ctx, screen.Options{Store: store, Watcher: watcher, Conflicts: cluster, ID: s.id,
			Database: cli.Redact(s.node.DB), Master: s.master, Policy: s.expected()})
		if st, _ := watcher.Load(); err == nil && st.Pending > 0 {
			fmt.Printf("%d pending; they are kept and exchanged at the next start\n", st.Pending)
		}
		return err
	}
	session := lines.Session{Store: store, Watcher: watcher, Conflicts: cluster, Policy: s.expected(), In: os.Stdin, Out: os.Stdout}
	err := session.Run(ctx)
	s.exchange(ctx, watcher)
	return err
}

// exchangeTime is how long a program that nobody looks at waits for the master to take what it has written.
const exchangeTime = 10 * time.Second

// exchange hands what is pending over, and says what stays.
func (s settings) exchange(ctx context.Context, watcher *live.Watcher) {
	if n := watcher.Exchanged(ctx, exchangeTime); n > 0 {
		fmt.Fprintf(os.Stderr, "snap %s: %d pending; they are kept and exchanged at the next start\n", s.id, n)
	}
}

// serve runs the console, if there is to be one, until the returned function is called.
func (s settings) serve(ctx context.Context, cluster *ddb.Cluster) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	up, ended := make(chan string, 1), make(chan error, 1) // one message each, so neither sender waits
	go func() { ended <- s.node.Serve(ctx, cluster, func(url string) { up <- url }) }()
	select {
	case url := <-up:
		if url != "off" && s.exec == nil {
			fmt.Fprintf(os.Stderr, "snap %s: console: %s\n", s.id, url)
		}
	case err := <-ended:
		cancel()
		return nil, err
	}
	return func() error {
		cancel()
		return <-ended
	}, nil
}
