// Master runs the master of a ddb cluster.
package main

import (
	"context"
	"fmt"
	"strings"

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
	node.RegisterMaster(fs)
	listen := fs.String("listen", defaultListen, "`address` where replicas and snaps connect")
	wait := fs.Int("wait-replicas", 0, "`number` of replicas that must have a write before it returns")
	policy := fs.String("policy", "", "`policy` for conflicts between snaps and the master: master, snap, newest or merge;\n        by table as in newest,orders=merge,prices=master (default master)")
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
	if o.Conflicts, err = policies(*policy); err != nil {
		return err
	}
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

// policies reads --policy: the policy of a table, or of all others where no table is named.
func policies(text string) (map[string]ddb.Policy, error) {
	if text == "" {
		return nil, nil
	}
	list := make(map[string]ddb.Policy)
	for _, part := range strings.Split(text, ",") {
		table, name, named := strings.Cut(part, "=")
		if !named {
			table, name = "", part
		}
		p, err := ddb.ParsePolicy(name)
		if err != nil {
			return nil, cli.Usage("--policy %q: %q is none of master, snap, newest, merge", text, name)
		}
		if _, twice := list[table]; twice || named && table == "" {
			return nil, cli.Usage("--policy %q: %q stands for no table, or for one that has a policy already", text, part)
		}
		list[table] = p
	}
	return list, nil
}
