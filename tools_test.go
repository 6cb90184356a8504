package ddb_test

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport/inmem"
)

// openPair opens a master and a replica that is level with it.
func openPair(t *testing.T, open func(t *testing.T) *sql.DB) (master, replica *ddb.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	network := inmem.New()
	mdb, rdb := open(t), open(t)
	m, err := ddb.Open(ctx, mdb, ddb.Options{Transport: network, Listen: "master"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	r, err := ddb.Open(ctx, rdb, ddb.Options{ID: "r1", Role: ddb.Replica, Transport: network, Master: "master"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	require.NoError(t, r.WaitReady(ctx))
	return m, r
}

func openSQLite(t *testing.T) *sql.DB { _, db := testdb.SQLite(t); return db }

func openMariaDB(t *testing.T) *sql.DB {
	s := testdb.SharedMariaDB(t)
	return s.Open(t, s.NewDatabase(t), "parseTime=true")
}

// toolEngines are the databases that a test should hold on.
var toolEngines = map[string]func(t *testing.T) *sql.DB{"sqlite": openSQLite, "mariadb": openMariaDB}

// levelled waits until the replicas have everything.
func levelled(t *testing.T, m *ddb.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, m.WaitLevel(ctx))
}

// sqlx works on a Cluster: named arguments, structs, transactions.
func TestSqlx(t *testing.T) {
	type person struct {
		ID   int64
		Name string
	}
	for name, open := range toolEngines {
		t.Run(name, func(t *testing.T) {
			m, r := openPair(t, open)
			driverName := map[string]string{"sqlite": "sqlite", "mariadb": "mysql"}[name]
			x := sqlx.NewDb(m.DB(), driverName)
			x.MustExec("CREATE TABLE person (id INTEGER PRIMARY KEY, name VARCHAR(40))")
			_, err := x.NamedExec("INSERT INTO person (id, name) VALUES (:id, :name)", []person{{1, "Ada"}, {2, "Grace"}})
			require.NoError(t, err)
			tx := x.MustBegin()
			tx.MustExec("UPDATE person SET name = 'Grace H.' WHERE id = 2")
			require.NoError(t, tx.Commit())
			var all []person
			require.NoError(t, x.Select(&all, "SELECT id, name FROM person ORDER BY id"))
			require.Equal(t, []person{{1, "Ada"}, {2, "Grace H."}}, all)
			levelled(t, m)
			all = nil
			require.NoError(t, sqlx.NewDb(r.DB(), driverName).Select(&all, "SELECT id, name FROM person ORDER BY id"))
			require.Len(t, all, 2)
		})
	}
}

// gorm works on a Cluster: migration, associations, hooks into LastInsertId, transactions.
func TestGorm(t *testing.T) {
	type Item struct {
		ID      uint64
		OrderID uint64
		Name    string `gorm:"size:40"`
	}
	type Order struct {
		ID        uint64
		CreatedAt time.Time
		Customer  string `gorm:"size:40;uniqueIndex"`
		Items     []Item
	}
	m, r := openPair(t, openMariaDB)
	g, err := gorm.Open(gormmysql.New(gormmysql.Config{Conn: m.DB()}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	require.NoError(t, g.AutoMigrate(&Order{}, &Item{}))
	o := Order{Customer: "Ada", Items: []Item{{Name: "tea"}, {Name: "milk"}}}
	require.NoError(t, g.Create(&o).Error)
	require.NotZero(t, o.Items[1].ID)
	require.NoError(t, g.Transaction(func(tx *gorm.DB) error {
		return tx.Model(&o).Update("customer", "Ada L.").Error
	}))
	var back Order
	require.NoError(t, g.Preload("Items").First(&back, o.ID).Error)
	require.Equal(t, "Ada L.", back.Customer)
	require.Len(t, back.Items, 2)
	levelled(t, m)
	var n int
	require.NoError(t, r.QueryRow("SELECT COUNT(*) FROM items").Scan(&n))
	require.Equal(t, 2, n)
}

// goose migrates a Cluster up and down, each migration in a transaction of its own.
func TestGoose(t *testing.T) {
	files := fstest.MapFS{
		"1_person.sql": {Data: []byte("-- +goose Up\nCREATE TABLE person (id INTEGER PRIMARY KEY, name VARCHAR(40));\nINSERT INTO person VALUES (1, 'Ada');\n-- +goose Down\nDROP TABLE person;\n")},
		"2_born.sql":   {Data: []byte("-- +goose Up\nALTER TABLE person ADD COLUMN born INTEGER;\nUPDATE person SET born = 1815;\n-- +goose Down\nALTER TABLE person DROP COLUMN born;\n")},
	}
	for name, open := range toolEngines {
		t.Run(name, func(t *testing.T) {
			m, r := openPair(t, open)
			d := map[string]goose.Dialect{"sqlite": goose.DialectSQLite3, "mariadb": goose.DialectMySQL}[name]
			p, err := goose.NewProvider(d, m.DB(), fs.FS(files))
			require.NoError(t, err)
			done, err := p.Up(t.Context())
			require.NoError(t, err)
			require.Len(t, done, 2)
			levelled(t, m)
			var born int
			require.NoError(t, r.QueryRow("SELECT born FROM person WHERE id = 1").Scan(&born))
			require.Equal(t, 1815, born)
			_, err = p.Down(t.Context())
			require.NoError(t, err)
			levelled(t, m)
			require.Error(t, r.QueryRow("SELECT born FROM person WHERE id = 1").Scan(&born))
		})
	}
}
