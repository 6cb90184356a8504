// Master runs the master of a ddb cluster.
package main

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/internal/cli"
)

const (
	defaultDB     = "sqlite:ddb-data/master.db"
	defaultListen = "127.0.0.1:7400"
	defaultHTTP   = "127.0.0.1:8080"
)

func main() { cli.Main("master", run) }

func run(ctx context.Context, args []string) error {
	var node cli.Node
	fs := cli.NewFlags("master", "Master runs the master of a ddb cluster: it takes the writes and feeds the replicas.", `
Start replicas in other terminals with
    go run ./examples/replica --id 1
    go run ./examples/replica --id 2
and open http://127.0.0.1:8080/. Ctrl-C stops the master in good order.`)
	node.Register(fs, defaultDB, defaultHTTP)
	listen := fs.String("listen", defaultListen, "`address` where replicas and snaps connect")
	wait := fs.Int("wait-replicas", 0, "`number` of replicas that must have a write before it returns")
	exportTo := fs.String("export", "", "write the whole database to a `file` of SQL, packed if it ends in .gz, and end")
	importFrom := fs.String("import", "", "run the statements of a `file` of SQL, plain or packed, and end; replicas get\n        them from the master that is started next")
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if *exportTo != "" && *importFrom != "" {
		return cli.Usage("--export and --import exclude each other")
	}
	node.Fill(defaultDB, defaultHTTP)
	o, err := node.Options(ddb.Master)
	if err != nil {
		return err
	}
	o.Listen, o.WaitReplicas = *listen, *wait
	cluster, db, err := node.Open(ctx, o)
	if err != nil {
		return err
	}
	defer db.Close()
	defer cluster.Close()
	switch {
	case *exportTo != "":
		return node.Export(ctx, cluster, *exportTo)
	case *importFrom != "":
		return cli.Import(ctx, cluster, *importFrom)
	}
	return node.Serve(ctx, cluster, func(url string) {
		fmt.Printf("master: replicas connect to %s; console: %s; Ctrl-C stops\n", *listen, url)
	})
}
