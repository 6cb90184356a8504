package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb"
	_ "github.com/ddb-project/ddb/dialect/sqlite"
	"github.com/ddb-project/ddb/internal/testdb"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/fault"
	"github.com/ddb-project/ddb/transport/tcp"
)

// asProgram makes the test's own binary run as the program, so that what is tested is the whole of it.
const asProgram = "DDB_TEST_AS_SNAP"

// patience limits each wait of these tests; a failure shows it, success never takes it.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	testdb.Main(m)
}

// office is the master of the tests, which can be stopped and started.
type office struct {
	t       *testing.T
	db      *sql.DB
	address string
	cluster *ddb.Cluster

	transport transport.Transport // TCP unless set
}

func newOffice(t *testing.T) *office {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, db := testdb.SQLite(t)
	o := &office{t: t, db: db, address: ln.Addr().String()}
	require.NoError(t, ln.Close())
	_, err = db.Exec(`CREATE TABLE customers (email TEXT PRIMARY KEY, name TEXT NOT NULL);
		CREATE TABLE items (sku INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE, price DECIMAL(8,2) NOT NULL DEFAULT 0, stock INT, added DATE);
		INSERT INTO items (sku, name, price, stock, added) VALUES (1, 'Tea', 3.5, 10, '2026-10-01'), (2, 'Coffee', 7, 4, '2026-10-02'), (3, 'Cocoa', 5, NULL, NULL)`)
	require.NoError(t, err)
	t.Cleanup(o.stop)
	return o
}

// start opens the master; listen says whether snaps can reach it.
func (o *office) start(listen bool) {
	o.t.Helper()
	opts := ddb.Options{Key: []byte("secret")}
	if listen {
		opts.Listen, opts.Transport = o.address, o.transport
		if opts.Transport == nil {
			opts.Transport = tcp.New(tcp.Options{})
		}
	}
	c, err := ddb.Open(o.t.Context(), o.db, opts)
	require.NoError(o.t, err)
	o.cluster = c
}

func (o *office) stop() {
	if o.cluster != nil {
		require.NoError(o.t, o.cluster.Close())
		o.cluster = nil
	}
}

// has waits until the query gives the value on the master.
func (o *office) has(want any, query string) {
	o.t.Helper()
	var got any
	require.Eventually(o.t, func() bool {
		err := o.db.QueryRow(query).Scan(&got)
		if b, ok := got.([]byte); ok {
			got = string(b)
		}
		return err == nil && fmt.Sprint(got) == fmt.Sprint(want)
	}, patience, 20*time.Millisecond, "%s: want %v", query, want)
}

// program returns the program, set up for one database: a file or a URL.
func (o *office) program(file string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(o.t.Context(), 4*patience)
	o.t.Cleanup(cancel)
	if !strings.Contains(file, "://") {
		file = "sqlite:" + file
	}
	args = append([]string{"--id", "shop-1", "--db", file, "--master", o.address}, args...)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "DDB_KEY=secret", "TERM=xterm-256color", "TZ=UTC")
	return cmd
}

// run runs the program with an input and returns what it printed and its exit status.
func (o *office) run(file, input string, args ...string) (stdout, stderr string, status int) {
	cmd := o.program(file, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		require.IsType(o.t, &exec.ExitError{}, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// --exec prints rows as a table, says what a write did, and works without the link once there is a copy.
func TestExec(t *testing.T) {
	o := newOffice(t)
	o.start(true)
	file := filepath.Join(t.TempDir(), "shop.db")
	out, errs, status := o.run(file, "", "--exec", "SELECT sku, name, price, added FROM items ORDER BY sku")
	require.Equal(t, 0, status, errs)
	require.Equal(t, `sku | name   | price | added
----+--------+-------+-----------
1   | Tea    | 3.5   | 2026-10-01
2   | Coffee | 7     | 2026-10-02
3   | Cocoa  | 5     | NULL
3 rows
`, out)
	o.stop()
	out, errs, status = o.run(file, "", "--exec", "UPDATE items SET stock = 9 WHERE sku = 1")
	require.Equal(t, 0, status, errs)
	require.Equal(t, "1 row changed\n", out)
	require.Equal(t, "snap shop-1: 1 pending; they are kept and exchanged at the next start\n", errs)
	o.start(true)
	for i := range 3 { // each is exchanged, with what had been pending, before the program ends
		_, errs, status = o.run(file, "", "--exec", fmt.Sprintf("UPDATE items SET stock = %d WHERE sku = 2", 20+i))
		require.Equal(t, 0, status, errs)
		require.Empty(t, errs)
		var stock string
		require.NoError(t, o.db.QueryRow("SELECT group_concat(stock) FROM items WHERE sku < 3").Scan(&stock))
		require.Equal(t, fmt.Sprintf("9,%d", 20+i), stock)
	}
	_, errs, status = o.run(file, "", "--exec", "CREATE TABLE mine (id INTEGER PRIMARY KEY)")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "only the master can do this")
	require.Contains(t, errs, o.address)
}

// --exec exits with status 1 and one line on stderr when the statement fails.
func TestExecError(t *testing.T) {
	o := newOffice(t)
	o.start(true)
	out, errs, status := o.run(filepath.Join(t.TempDir(), "shop.db"), "", "--exec", "SELECT * FROM nowhere")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, errs, "no such table: nowhere")
	require.Equal(t, 1, strings.Count(errs, "\n"))
}

// --exec takes one statement: it runs neither nothing nor several, and tells rows from changes.
func TestExecOne(t *testing.T) {
	o := newOffice(t)
	o.start(true)
	file := filepath.Join(t.TempDir(), "shop.db")
	for text, say := range map[string]string{
		";": "there is no statement", " ": "there is no statement", "-- none": "there is no statement",
		"DELETE FROM items; DELETE FROM items": "2 statements, but one runs at a time",
	} {
		_, errs, status := o.run(file, "", "--exec", text)
		require.Equal(t, 1, status, "%q: %s", text, errs)
		require.Contains(t, errs, say, "%q", text)
	}
	_, errs, status := o.run(file, "", "--exec", "")
	require.Equal(t, 2, status, errs)
	require.Contains(t, errs, "--exec wants a statement")
	for text, want := range map[string]string{
		"WITH a AS (SELECT 7 AS n) INSERT INTO items (sku, name) SELECT n, 'Milk' FROM a":                        "1 row changed\n",
		"/* one */ WITH a AS (SELECT 8 AS n) INSERT INTO items (sku, name) SELECT n, 'Rum' FROM a RETURNING sku": "sku\n---\n8\n1 row\n",
	} {
		out, errs, status := o.run(file, "", "--exec", text)
		require.Equal(t, 0, status, errs)
		require.Equal(t, want, out)
	}
}

// A mistake on the command line is told with the flag's name, and the status is 2.
func TestUsage(t *testing.T) {
	for _, c := range []struct{ name, flag, value, say string }{
		{"policy", "--policy", "mine", `--policy "mine" is none of master, snap, newest, merge`},
		{"level", "--log-level", "loud", `--log-level "loud" is none of`},
		{"argument", "--exec", "x", `unexpected argument "stray"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &office{t: t, address: "127.0.0.1:1"}
			args := []string{c.flag, c.value}
			if c.name == "argument" {
				args = append(args, "stray")
			}
			_, errs, status := o.run(filepath.Join(t.TempDir(), "x.db"), "", args...)
			require.Equal(t, 2, status, errs)
			require.Contains(t, errs, c.say)
		})
	}
}

// Without a terminal the same menu takes plain lines; wrong answers are refused with the reason.
func TestScript(t *testing.T) {
	o := newOffice(t)
	o.start(true)
	file := filepath.Join(t.TempDir(), "shop.db")
	script := strings.Join([]string{
		"1", "items", "", "Mate", "abc", "2.25", "x", "8", "2026-13-01", "2026-11-01", // INSERT, with wrong answers
		"1", "2", "", "Tea", "", "", "", // INSERT that the database refuses
		"2", "items", "1", "1", "", "", "3.75", "", "", "y", // UPDATE
		"3", "items", "2", "coff", "1", "y", // DELETE by searching
		"5", "items", "2", "", "", ">=3", "", "", // SEARCH by a condition
		"2", "items", "<", // Back
		"9",
		"4", "items",
		"7",
	}, "\n")
	out, errs, status := o.run(file, script)
	require.Equal(t, 1, status, errs)
	require.Contains(t, errs, "answers that were refused: 5")
	at := 0
	for _, want := range []string{
		"1 - INSERT", "2 - UPDATE", "3 - DELETE", "4 - SELECT ALL", "5 - SEARCH", "6 - Exit", "7 - CONFLICTS", "Choose: ",
		"1 - customers", "2 - items", "0 - Back", "Table: ",
		"sku (INTEGER, key, handed out by the database if empty): ", "name (VARCHAR(20), not NULL): ",
		"price (DECIMAL(8,2), not NULL, default 0): ", `refused: price: "abc" is not a number`,
		"stock (INT, may be NULL): ", `refused: stock: "x" is not a whole number`,
		`refused: added: "2026-13-01" is not a date such as`, "inserted into items sku ",
		"refused: name: another row has this value",
		"  name = Tea", "price: 3.5 -> 3.75", "Write these changes to sku 1? (y/n): ", "updated items sku 1",
		"Coffee", "Delete sku 2 from items? (y/n): ", "deleted sku 2 from items",
		"| Tea   | 3.75", "rows 1 to 2 of 2",
		`"9" is not in the menu`,
		"Mate", "rows 1 to 3 of 3", "no conflicts wait",
	} {
		i := strings.Index(out[at:], want)
		require.GreaterOrEqual(t, i, 0, "after\n%s\nmissing %q in\n%s", out[:at], want, out[at:])
		at += i + len(want)
	}
	require.NotContains(t, errs, "pending")
	o.has("3.75", "SELECT price FROM items WHERE sku = 1") // exchanged before the program ended
	out, errs, status = o.run(file, "6\n")
	require.Equal(t, 0, status, errs)
	require.Contains(t, out, "Choose: ")
}

// On MariaDB the program does the same: the first copy, a script, and what it wrote reaches the master.
func TestScriptMariaDB(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	head, shop := testdb.SharedMariaDB(t), testdb.MariaDB(t)
	name := head.NewDatabase(t)
	o := &office{t: t, address: ln.Addr().String(), db: head.Open(t, name)}
	require.NoError(t, ln.Close())
	shop.CreateDatabase(t, name)
	_, err = o.db.Exec("CREATE TABLE items (sku INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) NOT NULL, kind ENUM('hot','cold') NOT NULL DEFAULT 'hot', price DECIMAL(8,2), made TIMESTAMP NULL, raw VARBINARY(8), f FLOAT)")
	require.NoError(t, err)
	_, err = o.db.Exec("INSERT INTO items VALUES (1, 'Tea', 'hot', 3.5, '2026-10-01 10:00:00', x'00ff', 0.1), (2, 'Juice', 'cold', NULL, NULL, NULL, NULL)")
	require.NoError(t, err)
	t.Cleanup(o.stop)
	o.start(true)
	script := strings.Join([]string{
		"1", "items", "", "Mate", "warm", "cold", "2.25", "", "x'0102'", "1.5",
		"2", "items", "1", "1", "", "Green tea", "", "", "", "", "0.2", "y",
		"3", "items", "1", "2", "y",
		"4", "items",
	}, "\n")
	cmd := o.program(shop.URL(name))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, script+"\n")
	require.NoError(t, err)
	// The program stays until its input ends: what it has written reaches the master meanwhile.
	o.has("Green tea", "SELECT name FROM items WHERE sku = 1")
	o.has("1", "SELECT COUNT(*) FROM items WHERE name = 'Mate' AND kind = 'cold' AND raw = x'0102'")
	o.has("2", "SELECT COUNT(*) FROM items")
	require.NoError(t, in.Close())
	require.Error(t, cmd.Wait(), "an answer was refused")
	for _, want := range []string{`refused: kind: "warm" is none of hot, cold`, "inserted into items sku ", "name: Tea -> Green tea", "updated items sku 1", "deleted sku 2 from items", "x'0102'", "rows 1 to 2 of 2"} {
		require.Contains(t, out.String(), want)
	}
}

// --exec that is ended before there is a copy has not run: it says what it waited for, and the status is 1.
func TestExecInterrupted(t *testing.T) {
	o := newOffice(t) // which is closed
	cmd := o.program(filepath.Join(t.TempDir(), "shop.db"), "--exec", "SELECT 1")
	errs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(errs)
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "waiting for the first copy: the master cannot be reached")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "interrupted: waiting for the first copy")
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
}

// A wrong password is told without repeating it.
func TestWrongPassword(t *testing.T) {
	server := testdb.SharedMariaDB(t)
	name := server.NewDatabase(t)
	_, err := server.Open(t, name).Exec("CREATE USER IF NOT EXISTS 'clerk'@'%' IDENTIFIED BY 'right'")
	require.NoError(t, err)
	u, err := url.Parse(server.URL(name))
	require.NoError(t, err)
	u.User = url.UserPassword("clerk", "quite-wrong")
	o := &office{t: t, address: "127.0.0.1:1"}
	out, errs, status := o.run(u.String(), "")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, errs, "clerk")
	require.Contains(t, errs, "password")
	require.NotContains(t, errs, "quite-wrong")
}

// The first copy over a slow link is followed on the screen: how much of about how much, a bar that grows, then the menu.
func TestFirstCopyShown(t *testing.T) {
	o := newOffice(t)
	_, err := o.db.Exec(`CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);
		INSERT INTO many WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 60000) SELECT i, hex(randomblob(16)) FROM s`)
	require.NoError(t, err)
	link := fault.New(tcp.New(tcp.Options{}))
	link.SetBandwidth(200_000)
	o.transport = link
	o.start(true)
	x := openTerminal(t, o.program(filepath.Join(t.TempDir(), "shop.db")), 60, 15)
	seen := make(map[string]bool)
	bar := regexp.MustCompile(`(\d+)%`)
	for {
		screen, changed := x.look()
		if strings.Contains(screen, "What would you like to do?") {
			break
		}
		if m := bar.FindStringSubmatch(screen); m != nil {
			seen[m[1]] = true
			if strings.Contains(screen, "table many") && len(seen) == 2 {
				require.Regexp(t, `\d+ of about 600\d\d rows copied, [\d.]+ .iB`, screen)
			}
			if len(seen) > 2 {
				link.SetBandwidth(0)
			}
		}
		select {
		case <-changed:
		case <-x.done:
			t.Fatalf("the program has ended:\n%s", screen)
		case <-time.After(patience):
			t.Fatalf("nothing moves:\n%s", screen)
		}
	}
	require.Greater(t, len(seen), 2, "%v", seen)
	x.press("6")
	require.Equal(t, 0, x.ended())
}
