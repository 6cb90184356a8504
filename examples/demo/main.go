// Demo runs a whole ddb cluster in one process: a master, two replicas and a snap on
// SQLite files, talking over TCP, with sample data, a console and a prompt.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/internal/cli"
)

// readyTimeout is how long the followers may take to copy the sample data.
const readyTimeout = 30 * time.Second

// errQuit ends the program as a signal would.
var errQuit = errors.New("quit")

func main() { cli.Main("demo", run) }

func run(ctx context.Context, args []string) error {
	fs := cli.NewFlags("demo", "Demo runs a master, two replicas and a snap on SQLite in one process, with sample data.", help)
	listen := fs.String("listen", "127.0.0.1:7400", "`address` where the master accepts its followers")
	http := fs.String("http", "127.0.0.1:8080", "`address` of the console; \"off\" for none")
	dir := fs.String("dir", "", "`folder` for the databases, for example ddb-data/demo; they stay there and are\n        used again (default a temporary folder, removed at the end)")
	load := fs.Int("load", 0, "`number` of writes a second to make, so that there is something to see")
	level := fs.String("log-level", "warn", "`level` of the log on stderr: trace, debug, info, warn, error or off")
	token := fs.String("token", "", "`secret` that the console asks for before it shows anything; better in DDB_TOKEN")
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if *load < 0 || *load > maxLoad {
		return cli.Usage("--load %d is not between 0 and %d", *load, maxLoad)
	}
	log, err := cli.NewLogger(*level)
	if err != nil {
		return err
	}
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "ddb-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(*dir)
	}
	fleet := &fleet{dir: *dir, listen: *listen, key: rand.Text(), log: log}
	defer fleet.close()
	if err := fleet.open(ctx); err != nil {
		return err
	}
	node := &cli.Node{HTTP: *http, LogLevel: *level, Token: *token}
	node.Fill("", "")
	return serve(ctx, fleet, node, *load)
}

// serve runs the console, the prompt and the load until one fails, quit or a signal.
func serve(ctx context.Context, f *fleet, node *cli.Node, load int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return node.Serve(ctx, f.master(), func(url string) {
			console := "Open " + url + " in a browser, and type here, for example:"
			if url == "off" {
				console = "Type here, for example:"
			}
			fmt.Printf(welcome, f.listen, f.dir, console)
		})
	})
	group.Go(func() error { return f.prompt(ctx, os.Stdin, os.Stdout) })
	if load > 0 {
		group.Go(func() error { return enrol(ctx, f.master(), load) })
	}
	if err := group.Wait(); !errors.Is(err, errQuit) {
		return err
	}
	return nil
}

// ready waits until the followers have everything.
func ready(ctx context.Context, followers ...*ddb.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, c := range followers {
		if err := c.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

const welcome = `
A ddb cluster is up: master, replicas r1 and r2, snap s1, on %s.
Its databases are plain SQLite files under %s

  %s

    SELECT count(*) FROM students                        a read, spread over the replicas
    INSERT INTO students (name, born) VALUES ('Noor', 2004)
    stop r1                                              the cluster goes on without it ...
    start r1                                             ... and it catches up
    cut s1                                               the snap's link goes down, and it
    at s1 UPDATE courses SET title = 'Sets' WHERE id = 1   takes writes all the same
    heal s1                                              the link is back, and all agree
    status
    quit                                                 (or Ctrl-C)

`

const help = `
On the terminal type SQL, or:
    status          the nodes, their health and where each stands
    at NODE SQL     runs the SQL on that node's own handle: r1, r2, s1
    stop NODE       stops a follower, as if its machine went down
    start NODE      starts it again
    cut NODE        cuts a follower's link to the master
    heal NODE       mends it
    help, quit`
