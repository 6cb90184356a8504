package tools_test

import (
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
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// openPair opens a master and a replica that is level with it.
func openPair(t *testing.T, e testcluster.Engine) (master, replica *ddb.Cluster) {
	t.Helper()
	c := testcluster.New(t, e.Open(t, "parseTime=true").DB)
	return c.Master, c.Follow(ddb.Replica, "r1", e.Open(t, "parseTime=true").DB)
}

// levelled waits until the replicas have everything.
func levelled(t *testing.T, m *ddb.Cluster) {
	t.Helper()
	require.NoError(t, m.WaitLevel(testcluster.Context(t)))
}

// sqlx works on a Cluster: named arguments, structs, transactions.
func TestSqlx(t *testing.T) {
	type person struct {
		ID   int64
		Name string
	}
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		m, r := openPair(t, e)
		driverName := map[testcluster.Engine]string{testcluster.SQLite: "sqlite", testcluster.MariaDB: "mysql"}[e]
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
	m, r := openPair(t, testcluster.MariaDB)
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
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		m, r := openPair(t, e)
		d := map[testcluster.Engine]goose.Dialect{testcluster.SQLite: goose.DialectSQLite3, testcluster.MariaDB: goose.DialectMySQL}[e]
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
