package ddb_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/transport/inmem"
	"github.com/ddb-project/ddb/transport/tcp"
)

// A master and a replica in twenty lines. In earnest each is a process of its own.
func Example() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "ddb")
	defer os.RemoveAll(dir)
	open := func(name string) *sql.DB {
		db, _ := sql.Open("sqlite", "file:"+filepath.Join(dir, name)+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
		return db
	}
	masterDB, replicaDB := open("master.db"), open("r1.db")
	defer masterDB.Close()
	defer replicaDB.Close()
	network := tcp.New(tcp.Options{})
	master, err := ddb.Open(ctx, masterDB, ddb.Options{Transport: network, Listen: "127.0.0.1:17411"})
	if err != nil {
		log.Fatal(err)
	}
	defer master.Close()
	replica, err := ddb.Open(ctx, replicaDB, ddb.Options{ID: "r1", Role: ddb.Replica, Transport: network, Master: "127.0.0.1:17411"})
	if err != nil {
		log.Fatal(err)
	}
	defer replica.Close()

	master.Exec("CREATE TABLE student (id INTEGER PRIMARY KEY, name TEXT)")
	replica.WaitReady(ctx)
	replica.Exec("INSERT INTO student (name) VALUES (?)", "Ada") // goes to the master
	var name string
	replica.QueryRow("SELECT name FROM student").Scan(&name) // sees what was just written
	fmt.Println(name)
	// Output: Ada
}

// Each node has a key and rights of its own. One that is stolen is shut out, and the others notice nothing.
func ExampleCluster_SetAccess() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "ddb")
	defer os.RemoveAll(dir)
	open := func(name string) *sql.DB {
		db, _ := sql.Open("sqlite", "file:"+filepath.Join(dir, name)+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
		return db
	}
	masterDB, tillDB := open("master.db"), open("till.db")
	defer masterDB.Close()
	defer tillDB.Close()
	network := inmem.New() // tcp.New in earnest
	keyOfR1, keyOfTill := []byte(rand.Text()), []byte(rand.Text())

	nodes := map[string]ddb.NodeAccess{
		"r1":   {Role: ddb.Replica, Key: keyOfR1, SQL: ddb.ReadRows},
		"till": {Role: ddb.Snap, Key: keyOfTill, Tables: map[string]ddb.Ops{"sale": ddb.Insert}},
	}
	master, err := ddb.Open(ctx, masterDB, ddb.Options{Transport: network, Listen: "10.0.0.1:7400", Nodes: nodes})
	if err != nil {
		log.Fatal(err)
	}
	defer master.Close()
	openTill := func() *ddb.Cluster {
		till, err := ddb.Open(ctx, tillDB, ddb.Options{ID: "till", Role: ddb.Snap, Key: keyOfTill, Transport: network, Master: "10.0.0.1:7400"})
		if err != nil {
			log.Fatal(err)
		}
		return till
	}
	till := openTill()
	fmt.Println("let in:", till.WaitReady(ctx) == nil)
	till.Close()

	delete(nodes, "till")
	err = master.SetAccess(ddb.Access{Nodes: nodes})
	if err != nil {
		log.Fatal(err)
	}
	thief := openTill()
	defer thief.Close()
	fmt.Println("shut out:", errors.Is(thief.WaitReady(ctx), ddb.ErrUnknownNode))
	// Output:
	// let in: true
	// shut out: true
}
