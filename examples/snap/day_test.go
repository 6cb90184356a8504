package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/examples/snap/internal/records"
)

// A whole day at a shop, at a real terminal: the first copy, work online, work offline, a conflict made at
// the office meanwhile, reconnection, and conflicts settled both ways.
func TestDayAtTheShop(t *testing.T) {
	o := newOffice(t)
	file := filepath.Join(t.TempDir(), "shop.db")
	x := openTerminal(t, o.program(file), 80, 24)

	// Morning: the office is not up yet; then the first copy arrives.
	x.sees("Copying the database from the master at "+o.address, "Waiting for the master", "OFFLINE since")
	o.start(true)
	x.sees("1 - INSERT", "2 - UPDATE", "3 - DELETE", "4 - SELECT ALL", "5 - SEARCH", "6 - Exit", "7 - CONFLICTS",
		"online since", "0 pending", "0 conflicts")

	insertItem(x)
	o.has("12.5", "SELECT price FROM items WHERE name = 'Juice'")
	pageThroughItems(x)
	o.stop()
	x.sees("OFFLINE since", "lag unknown")
	workOffline(x)

	// Meanwhile the office changes what the shop has changed too.
	o.start(false)
	_, err := o.cluster.Exec("UPDATE items SET price = 99 WHERE sku IN (1, 3)")
	require.NoError(t, err)
	o.stop()
	o.start(true)
	x.sees("online since", "0 pending", "2 conflicts")
	o.has(0, "SELECT count(*) FROM items WHERE name = 'Coffee'") // deleted offline
	o.has(1, "SELECT count(*) FROM items WHERE name = 'Lemon'")  // inserted offline

	settleConflicts(x)
	x.sees("0 pending", "0 conflicts")
	o.has("4.25", "SELECT price FROM items WHERE sku = 1") // retried
	o.has("99", "SELECT price FROM items WHERE sku = 3")   // dismissed

	// Evening: closing time in a larger window.
	x.resize(120, 40)
	x.sees("What would you like to do?")
	x.press("6")
	require.Equal(t, 0, x.ended())
	all := "SELECT sku, name, price, stock, added FROM items ORDER BY sku"
	shop, errs, status := o.run(file, "", "--exec", all)
	require.Equal(t, 0, status, errs)
	var office strings.Builder
	require.NoError(t, records.New(o.db, records.SQLite).Run(t.Context(), &office, all))
	require.Equal(t, office.String(), shop, "office and shop hold the same rows")
	require.Contains(t, shop, "Lemon")
	require.NotContains(t, shop, "Coffee")
}

// chooseItems opens an action of the menu for the table items.
func chooseItems(x *terminal, digit, action string) {
	x.t.Helper()
	x.sees("What would you like to do?")
	x.press(digit)
	x.sees(action, "Which table?", "> customers", "← Back")
	x.press(down)
	x.sees("> items")
	x.press(enter)
}

// insertItem adds a row, after wrong values were refused at their fields and by the database.
func insertItem(x *terminal) {
	x.t.Helper()
	chooseItems(x, "1", "INSERT")
	x.sees("A new row of items", "VARCHAR(20), not NULL", "DECIMAL(8,2), not NULL, default 0", "INT, may be NULL")
	x.fill("sku", "")
	x.fill("name", "")
	x.sees("✗ name: must not be NULL")
	x.fill("name", "Tea")
	x.fill("price", "abc")
	x.sees(`✗ price: "abc" is not a number`)
	x.fill("price", "12.5")
	x.fill("stock", "6")
	x.fill("added", "2026-02-30")
	x.sees(`✗ added: "2026-02-30" is not a date`)
	x.fill("added", "2026-11-22")
	x.sees("✗ refused: name: another row has this value", "┃ > Tea")
	x.fill("name", "Juice")
	x.fill("price", "")
	x.fill("stock", "")
	x.fill("added", "")
	x.sees("✓ inserted into items sku", "What would you like to do?")
}

// pageThroughItems looks at the table and at one row of it, and searches.
func pageThroughItems(x *terminal) {
	x.t.Helper()
	chooseItems(x, "4", "SELECT ALL")
	x.sees("Tea", "Coffee", "Cocoa", "Juice", "rows 1 to 4 of 4")
	x.press(enter)
	x.sees("sku 1", "u: update · d: delete")
	x.press(escape)
	x.sees("rows 1 to 4 of 4")
	x.press(escape)
	x.sees("Which table?")
	x.press(escape)
	chooseItems(x, "5", "SEARCH")
	x.sees("1 - a text in all columns", "2 - a condition per column")
	x.press("2")
	x.fill("sku", "")
	x.fill("name", "")
	x.fill("price", ">=7")
	x.fill("stock", "")
	x.fill("added", "")
	x.sees("Coffee", "Juice", "rows 1 to 2 of 2", "price >=7")
	for _, back := range []string{"Search items", "Search how?", "Which table?", "What would you like to do?"} {
		x.press(escape)
		x.sees(back)
	}
}

// workOffline changes, deletes and inserts rows while there is no link.
func workOffline(x *terminal) {
	x.t.Helper()
	for _, change := range []struct{ sku, price, pending string }{{"1", "4.25", "1 pending"}, {"3", "6", "2 pending"}} {
		chooseItems(x, "2", "UPDATE")
		x.sees("How do you want to find the row?")
		x.press("1")
		x.fill("sku", change.sku)
		x.sees("Change items sku " + change.sku)
		x.fill("sku", "")
		x.fill("name", "")
		x.fill("price", change.price)
		x.fill("stock", "")
		x.fill("added", "")
		x.sees("Write these changes?", "→ "+change.price)
		x.press("y")
		x.sees("✓ updated items sku "+change.sku, change.pending, "OFFLINE since")
	}
	chooseItems(x, "3", "DELETE")
	x.sees("How do you want to find the row?")
	x.press("2")
	x.fill("text", "coff")
	x.sees("Coffee", "rows 1 to 1 of 1")
	x.press(enter)
	x.sees("Delete this row?", "Coffee", "2026-10-02")
	x.press("y")
	x.sees("✓ deleted sku 2 from items", "3 pending")
	chooseItems(x, "1", "INSERT")
	x.fill("sku", "")
	x.fill("name", "Lemon")
	for _, name := range []string{"price", "stock", "added"} {
		x.fill(name, "")
	}
	x.sees("✓ inserted into items", "4 pending", "OFFLINE since")
}

// settleConflicts retries the conflict of item 1 and dismisses that of item 3.
func settleConflicts(x *terminal) {
	x.t.Helper()
	for left, c := range []struct{ key, wrote, press, done string }{
		{"items sku 3", "6", "d", "✓ conflict dismissed: items sku 3"},
		{"items sku 1", "4.25", "r", "✓ conflict retried: items sku 1"},
	} {
		x.sees("What would you like to do?")
		x.press("7")
		x.sees("Which conflict?", c.key, "refused; the master's row stands")
		x.press("/" + c.key)
		x.sees("/" + c.key)
		x.press(enter)
		x.press(enter)
		x.sees("policy master wins", "shop-1 wrote", "master had", "≠ price", c.wrote, "99")
		x.press(c.press)
		x.sees("Yes", "No")
		x.press("y")
		x.sees(c.done, []string{"1 conflict", "0 conflicts"}[left])
	}
}

// A long and wide table pages from end to end in windows of several sizes; keys typed ahead are not lost.
func TestLongTable(t *testing.T) {
	o := newOffice(t)
	_, err := o.db.Exec(`CREATE TABLE wide (id INTEGER PRIMARY KEY, first TEXT, second TEXT, third TEXT, fourth TEXT);
		INSERT INTO wide WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 3000)
		SELECT i, printf('a%029d', i), printf('b%029d', i), printf('c%029d', i), printf('d%029d', i) FROM n`)
	require.NoError(t, err)
	o.start(true)
	x := openTerminal(t, o.program(filepath.Join(t.TempDir(), "shop.db")), 80, 24)
	x.sees("What would you like to do?")
	x.press("4" + down + down + enter)
	x.sees("rows 1 to 17 of 3000", "columns 1 to 3 of 5", "a00000000000000000000000000017")
	x.press("n")
	x.sees("rows 18 to 34 of 3000")
	x.press(end)
	x.sees("rows 2984 to 3000 of 3000")
	x.press("p")
	x.sees("rows 2967 to 2983 of 3000")
	x.press("lll")
	x.sees("columns 4 to 5 of 5", "d00000000000000000000000002967")
	x.resize(120, 40)
	x.sees("rows 2967 to 2999 of 3000")
	x.resize(40, 12)
	x.sees("rows 2967 to 2971 of 3000")
	x.press("\x03")
	require.Equal(t, 0, x.ended())
}
