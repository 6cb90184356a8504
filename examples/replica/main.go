// Replica runs a replica of a ddb cluster.
package main

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/internal/cli"
)

const (
	maxID    = 99
	baseHTTP = "127.0.0.1:8080" // plus the id
)

func main() { cli.Main("replica", run) }

func run(ctx context.Context, args []string) error {
	var node cli.Node
	fs := cli.NewFlags("replica", "Replica runs a replica of a ddb cluster: it follows the master and serves reads.", `
A new replica needs an empty database and copies the master's into it. Ctrl-C
stops it in good order; it goes on where it stood when it is started again.`)
	id := fs.Int("id", 1, "`number` of the replica, 1 to 99; its name in the cluster is r and the number")
	node.Register(fs, "sqlite:ddb-data/rID.db", "127.0.0.1:8080 plus the id")
	master := fs.String("master", "127.0.0.1:7400", "`address` of the master")
	rejoin := fs.Bool("rejoin", false, "let a copy of the master replace this node's data if its history differs")
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if *id < 1 || *id > maxID {
		return cli.Usage("--id %d is not between 1 and %d", *id, maxID)
	}
	if err := cli.CheckAddress("--master", *master); err != nil {
		return err
	}
	node.Fill(fmt.Sprintf("sqlite:ddb-data/r%d.db", *id), cli.PortPlus(baseHTTP, *id))
	o, err := node.Options(ddb.Replica)
	if err != nil {
		return err
	}
	o.ID, o.Master, o.Rejoin = fmt.Sprintf("r%d", *id), *master, *rejoin
	cluster, db, err := node.Open(ctx, o)
	if err != nil {
		return err
	}
	defer db.Close()
	defer cluster.Close()
	return node.Serve(ctx, cluster, func(url string) {
		fmt.Printf("replica %s: looks for its master at %s; console: %s; Ctrl-C stops\n", o.ID, *master, url)
	})
}
