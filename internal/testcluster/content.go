package testcluster

import (
	"database/sql"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
)

// FillShop makes two tables of a shop, with rows to look at: 8 customers and 240 orders.
func (c *Cluster) FillShop() {
	c.Exec("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL, city VARCHAR(60), since DATE)")
	c.Exec("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, item VARCHAR(80), amount DECIMAL(12,2), paid BOOLEAN, note TEXT, receipt BLOB)")
	people := []string{"Ada Lovelace", "Grace Hopper", "Edgar Codd", "Barbara Liskov", "Jim Gray", "Leslie Lamport", "Margaret Hamilton", "Tony Hoare"}
	cities := []string{"London", "New York", "Portland", "Boston", "San Francisco", "Mountain View", "Cambridge", "Oxford"}
	for i, p := range people {
		c.Exec("INSERT INTO customers VALUES (?, ?, ?, ?)", i+1, p, cities[i], fmt.Sprintf("20%02d-0%d-1%d", 10+i, 1+i, i))
	}
	items := []string{"Ledger, 200 pages", "Fountain pen", "Slide rule", "Punched cards", "Desk lamp", "Paper tape"}
	tx, err := c.Master.Begin()
	require.NoError(c.tb, err)
	for i := range 240 {
		var note, receipt any
		if i%5 == 0 {
			note = "Deliver before noon"
		}
		if i%3 == 0 {
			receipt = []byte{0x89, 'P', 'N', 'G', 0x0d, 0x0a, byte(i)}
		}
		_, err := tx.Exec("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", i+1, i%8+1, items[i%6], fmt.Sprintf("%d.%02d", 12+i*7%400, i*13%100), i%4 != 0, note, receipt)
		require.NoError(c.tb, err)
	}
	require.NoError(c.tb, tx.Commit())
}

// Contents returns all rows of a SQLite database as literals with their storage classes.
func Contents(tb testing.TB, db *sql.DB, tables ...string) string {
	var out strings.Builder
	for _, table := range tables {
		rows, err := db.Query("SELECT name FROM pragma_table_info(?)", table)
		require.NoError(tb, err)
		var columns []string
		for rows.Next() {
			var name string
			require.NoError(tb, rows.Scan(&name))
			columns = append(columns, fmt.Sprintf(`typeof(%[1]q) || hex(CAST(%[1]q AS BLOB)) || iif(typeof(%[1]q) = 'real', printf('%%!.20e', %[1]q), '')`, name))
		}
		require.NoError(tb, rows.Close())
		rows, err = db.Query("SELECT " + strings.Join(columns, " || '|' || ") + " FROM \"" + strings.ReplaceAll(table, `"`, `""`) + "\" ORDER BY 1")
		require.NoError(tb, err)
		for rows.Next() {
			var line string
			require.NoError(tb, rows.Scan(&line))
			fmt.Fprintln(&out, table, line)
		}
		require.NoError(tb, rows.Close())
	}
	return out.String()
}

// Count returns the one number that a query gives, -1 if it fails.
func Count(c *ddb.Cluster, query string) (n int) {
	if c.QueryRow(query).Scan(&n) != nil {
		return -1
	}
	return n
}

// Busy returns how many statements with the word the MariaDB server runs.
func Busy(tb testing.TB, db *sql.DB, word string) (n int) {
	tb.Helper()
	require.NoError(tb, db.QueryRow("SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE ? AND ID <> CONNECTION_ID()", "%"+word+"%").Scan(&n))
	return n
}

// Program returns the path of a program, and skips the test where it is not installed.
func Program(tb testing.TB, program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		tb.Skipf("%s is not installed: install it to test the exported file with the stock client", program)
	}
	return path
}
