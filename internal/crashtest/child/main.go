// Child is one node of a cluster that is going to be killed. It writes as fast as it can and
// reports on stdout, one line each, unbuffered:
//
//	ready          the node is open
//	? KEY          KEY is about to be deleted
//	+ KEY          the insertion of KEY has been acknowledged
//	- KEY          its deletion has been acknowledged
//	n WRITER N     the counter of the writer has been raised to N, acknowledged
//	b KEY          the local transaction of a snap with the mark KEY has been acknowledged
//	quiet          the writers have stopped and the link is whole, after "quiet" on stdin
//	drained        the master has all that the snap has written, after "drained" on stdin
//	level          all replicas have everything, after "level REPLICAS" on stdin
//	! TEXT         something that must not happen
//
// It ends when stdin does.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/mysql"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/tcp"
)

const (
	openPatience  = 20 * time.Second // for the server to notice that the last process is dead
	levelPatience = 60 * time.Second
	heartbeat     = 200 * time.Millisecond
	maxWhole      = 300 * time.Millisecond // that a snap's link lasts
	maxCut        = 150 * time.Millisecond
)

func main() {
	var o ddb.Options
	var driver, dsn, role, run string
	var writers int
	var pause time.Duration
	flag.StringVar(&driver, "driver", "sqlite", "sqlite or mysql")
	flag.StringVar(&dsn, "dsn", "", "of the node's database")
	flag.StringVar(&role, "role", "", "master, replica or snap")
	flag.StringVar(&o.ID, "id", "", "of the node")
	flag.StringVar(&o.Listen, "listen", "", "of a master")
	flag.StringVar(&o.Master, "master", "", "of a replica or a snap")
	flag.StringVar(&run, "run", "", "makes the keys of this process unlike those of all others")
	flag.IntVar(&writers, "writers", 4, "goroutines that write")
	flag.DurationVar(&pause, "pause", 0, "of a writer between two steps, on average")
	flag.Parse()
	o.Role = ddb.Role(role)
	o.Heartbeat = heartbeat
	link := fault.New(tcp.New(tcp.Options{}))
	o.Transport = link
	o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr})
	db, err := sql.Open(driver, dsn)
	if err != nil {
		fatal(err)
	}
	c, err := open(db, o)
	if err != nil {
		fatal(err)
	}
	say("ready")
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range writers {
		w := &writer{c: c, mysql: driver == "mysql", name: fmt.Sprintf("%s.%d", o.ID, i), run: run, pause: pause}
		if o.Role == ddb.Snap {
			all.Go(func() { w.workLocally(ctx) })
		} else {
			all.Go(func() { w.work(ctx, o.Role == ddb.Master) })
		}
	}
	if o.Role == ddb.Snap {
		all.Go(func() { cutAndHeal(ctx, link) })
	}
	if o.Role == ddb.Master {
		all.Go(func() { (&writer{c: c, name: "ddl", run: run}).schema(ctx) })
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch words := strings.Fields(in.Text()); words[0] {
		case "quiet":
			stop()
			all.Wait()
			say("quiet")
		case "drained":
			if err := drained(c); err != nil {
				fatal(err)
			}
			say("drained")
		case "level":
			if err := level(c, words[1:]); err != nil {
				fatal(err)
			}
			say("level")
		}
	}
	stop()
	all.Wait()
	if err := errors.Join(c.Close(), db.Close()); err != nil {
		fatal(err)
	}
}

// open tries again while the database server still takes the killed process for alive.
func open(db *sql.DB, o ddb.Options) (*ddb.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openPatience)
	defer cancel()
	for {
		c, err := ddb.Open(ctx, db, o)
		if !errors.Is(err, ddb.ErrSecondMaster) || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// level waits until the replicas are active and have everything.
func level(c *ddb.Cluster, replicas []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), levelPatience)
	defer cancel()
	for {
		nodes, changed := c.Watch()
		active := map[string]bool{}
		for _, n := range nodes {
			active[n.ID] = n.State == ddb.Active
		}
		missing := ""
		for _, id := range replicas {
			if !active[id] {
				missing = id
			}
		}
		if missing == "" {
			return c.WaitLevel(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("replica %s is not active: %+v", missing, nodes)
		}
	}
}

// cutAndHeal cuts the link again and again, in the middle of whatever passes over it.
func cutAndHeal(ctx context.Context, link *fault.Transport) {
	defer link.HealAll()
	for {
		select {
		case <-time.After(rand.N(maxWhole)):
		case <-ctx.Done():
			return
		}
		link.CutAll()
		select {
		case <-time.After(rand.N(maxCut)):
		case <-ctx.Done():
			return
		}
		link.HealAll()
	}
}

// drained waits until nothing of the snap is pending.
func drained(c *ddb.Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), levelPatience)
	defer cancel()
	for {
		nodes, _ := c.Watch()
		if self := nodes[0]; self.Pending == 0 && self.State == ddb.Active {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the snap still has something pending: %+v", nodes[0])
		}
	}
}

var stdout sync.Mutex

// say writes one line in one call, so that a kill leaves whole lines.
func say(format string, args ...any) {
	line := fmt.Appendf(nil, format+"\n", args...)
	stdout.Lock()
	defer stdout.Unlock()
	os.Stdout.Write(line)
}

func fatal(err error) {
	say("! %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	os.Exit(1)
}
