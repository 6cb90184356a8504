package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/examples/internal/cli"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/tcp"
)

// fleet is the nodes of the demo. The prompt's goroutine owns it once it is open.
type fleet struct {
	dir    string
	listen string
	key    string // of this run: nobody else is to come in
	log    hclog.Logger
	nodes  []*node // the master first
}

// node is one node, which may be stopped.
type node struct {
	id      string
	role    ddb.Role
	link    *fault.Transport // this node's end of the network, so that it can be cut
	db      *sql.DB          // nil while the node is stopped
	cluster *ddb.Cluster     // likewise
}

func (f *fleet) master() *ddb.Cluster { return f.nodes[0].cluster }

// open starts all nodes, fills an empty master with the sample data and waits for the others.
func (f *fleet) open(ctx context.Context) error {
	var followers []*ddb.Cluster
	for _, n := range []*node{{id: "master", role: ddb.Master}, {id: "r1", role: ddb.Replica}, {id: "r2", role: ddb.Replica}, {id: "s1", role: ddb.Snap}} {
		n.link = fault.New(tcp.New(tcp.Options{}))
		f.nodes = append(f.nodes, n)
		if err := f.start(ctx, n); err != nil {
			return err
		}
		if n.role == ddb.Master {
			if err := fill(ctx, n.cluster); err != nil {
				return err
			}
			continue
		}
		followers = append(followers, n.cluster)
	}
	return ready(ctx, followers...)
}

// start opens the node's database and the node. It does nothing to one that runs.
func (f *fleet) start(ctx context.Context, n *node) error {
	if n.cluster != nil {
		return nil
	}
	url := "sqlite:" + filepath.Join(f.dir, n.id, "MOST.db")
	o := ddb.Options{ID: n.id, Role: n.role, Transport: n.link, Logger: f.log, Key: []byte(f.key)}
	if n.role == ddb.Master {
		o.Listen = f.listen
	} else {
		o.Master = f.listen
	}
	cluster, db, err := (&cli.Node{DB: url}).Open(ctx, o)
	if err != nil {
		return err
	}
	n.cluster, n.db = cluster, db
	return nil
}

// stop closes the node and its database.
func (n *node) stop() error {
	if n.cluster == nil {
		return nil
	}
	err := errors.Join(n.cluster.Close(), n.db.Close())
	n.cluster, n.db = nil, nil
	return err
}

// close stops all nodes, the master last.
func (f *fleet) close() {
	for _, n := range slices.Backward(f.nodes) {
		if err := n.stop(); err != nil {
			f.log.Warn("the node did not stop in good order", "node", n.id, "error", err)
		}
	}
}

// find returns the node of that id; onlyFollowers leaves the master out.
func (f *fleet) find(id string, onlyFollowers bool) (*node, error) {
	nodes := f.nodes
	if onlyFollowers {
		nodes = nodes[1:]
	}
	var ids []string
	for _, n := range nodes {
		if n.id == id {
			return n, nil
		}
		ids = append(ids, n.id)
	}
	return nil, fmt.Errorf("there is no node %q here: use %s", id, strings.Join(ids, ", "))
}
