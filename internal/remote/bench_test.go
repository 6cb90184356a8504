package remote

import (
	"context"
	"database/sql"
	"net"
	"testing"

	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/inmem"
)

// A point query over a stream in memory, and directly.
func BenchmarkPointQuery(b *testing.B) {
	_, direct := testdb.SQLite(b)
	mustExec(b, direct, `CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)`)
	mustExec(b, direct, `INSERT INTO t VALUES (1, 'one')`)
	network := inmem.New()
	listener, err := network.Listen(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	r := newRig(b, direct, ServeOptions{}, Options{})
	r.db.Close()
	r.db = sql.OpenDB(NewConnector(func(ctx context.Context) (net.Conn, error) {
		client, err := network.Dial(ctx, listener.Addr().String())
		if err != nil {
			return nil, err
		}
		server, err := listener.Accept()
		if err == nil {
			r.serve(context.Background(), server, ServeOptions{})
		}
		return client, err
	}, Options{}))
	for name, db := range map[string]*sql.DB{"direct": direct, "remote": r.db} {
		b.Run(name, func(b *testing.B) {
			var s string
			for b.Loop() {
				if err := db.QueryRowContext(b.Context(), `SELECT s FROM t WHERE id = ?`, 1).Scan(&s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
