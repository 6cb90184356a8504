package histories_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/internal/testcluster"
	"github.com/ddb-project/ddb/transport/fault"
)

const storySchema = `CREATE TABLE account (id INT NOT NULL PRIMARY KEY, name VARCHAR(40) UNIQUE, amount INT NOT NULL);
	CREATE TABLE done (id VARCHAR(40) NOT NULL PRIMARY KEY, who VARCHAR(20))`

// Whatever a master and three snaps do to a few rows, with links cut and nodes restarted at any point, all five
// databases are equal in the end; every local transaction is there once or kept in the
// conflicts table; and under master wins transfers preserve the sum.
func TestSnapProperty(t *testing.T) {
	checks(t, 30) // of each policy; -short makes a fifth of it
	for name, policy := range testcluster.Policies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { story(t, r, testcluster.SQLite, name, policy) })
		})
	}
}

// So it is on MariaDB, with a few runs of each policy.
func TestSnapPropertyMariaDB(t *testing.T) {
	checks(t, 5)
	e := testcluster.MariaDB
	for name, policy := range testcluster.Policies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { story(t, r, e, name, policy) })
		})
	}
}

// story is one run: rapid prints its seed when it fails.
func story(t *testing.T, r *rapid.T, e testcluster.Engine, name string, policy ddb.Policy) {
	s := &tale{Shop: testcluster.NewShop(t, e, ddb.Options{Conflicts: map[string]ddb.Policy{"": policy}}, storySchema), r: r, policy: name, cutOff: make(map[string]bool), committed: make(map[string]string)}
	defer s.end()
	s.Exec("master", "INSERT INTO account VALUES (1, 'n1', 100), (2, 'n2', 100), (3, 'n3', 100), (4, 'n4', 100)")
	s.Links["replica"] = fault.New(s.Net)
	s.Open("replica", ddb.Options{Role: ddb.Replica, Master: "master", Transport: s.Links["replica"]})
	snaps := []string{"a", "b", "c"}
	for _, id := range snaps {
		s.Snap(id, ddb.Options{})
	}
	writers, all := append([]string{"master"}, snaps...), append([]string{"master", "replica"}, snaps...)
	for range rapid.IntRange(3, 25).Draw(r, "steps") {
		id := rapid.SampledFrom(writers).Draw(r, "node")
		what := rapid.IntRange(0, 11).Draw(r, "what")
		s.steps = append(s.steps, fmt.Sprint(id, " ", what))
		switch what {
		case 0:
			s.cutLink(rapid.SampledFrom(all[1:]).Draw(r, "link"))
		case 1:
			s.healLinks(rapid.SampledFrom(all[1:]).Draw(r, "link"))
		case 2:
			s.Restart(rapid.SampledFrom(all).Draw(r, "restart"))
		case 3, 4: // in the middle of whatever the transaction sets off
			s.write(id, s.transaction(id))
			if what == 3 {
				s.cutLink(snaps[s.marks%len(snaps)])
				s.healLinks(snaps[s.marks%len(snaps)])
			} else {
				s.Restart(snaps[s.marks%len(snaps)])
			}
		case 5, 6:
			s.crash(rapid.SampledFrom(all).Draw(r, "crash"), id)
		default:
			s.write(id, s.transaction(id))
		}
	}
	s.healLinks(all[1:]...)
	s.Exchange(snaps...)
	require.NoError(t, testcluster.WaitLSN(s.Ctx, s.Nodes["replica"], s.Nodes["master"]))
	s.Same("account", "done")
	s.account()
	if name == "master" {
		require.Equal(t, "[400]", s.Rows("master", "SELECT CAST(SUM(amount) AS CHAR) + 0 FROM account"), "%s\n%v", s.Rows("master", "SELECT * FROM account"), s.Conflicts("master"))
	}
}

// tale is a master, a replica and three snaps to which things happen at random.
type tale struct {
	*testcluster.Shop
	r         *rapid.T
	policy    string
	steps     []string
	marks     int
	cutOff    map[string]bool   // nodes whose link is cut
	committed map[string]string // by the mark of a transaction that must not be lost: the accounts as it left them
}

// localTx is one local transaction with a mark of its own.
type localTx struct {
	mark, node string
	queries    []string
}

// done is the row that a transaction leaves beside what it does.
func (x localTx) done() string { return fmt.Sprintf(`{"id":%q,"who":%q}`, x.mark, x.node) }

func (s *tale) end() {
	if s.r.Failed() || s.TB.Failed() {
		s.TB.Log(strings.Join(s.steps, "\n"))
		for id, n := range s.Nodes {
			s.TB.Logf("%s: %+v\n%s\n%s", id, n.Nodes()[0], s.Rows(id, "SELECT * FROM account"), s.Rows(id, "SELECT * FROM done"))
		}
		s.TB.Logf("%+v", s.Conflicts("master"))
	}
	for id, n := range s.Nodes {
		require.NoError(s.TB, n.Close())
		require.NoError(s.TB, s.DBs[id].Close())
	}
	clear(s.Nodes)
}

func (s *tale) cutLink(id string) {
	s.cutOff[id] = true
	s.Cut(id)
}

func (s *tale) healLinks(ids ...string) {
	for _, id := range ids {
		delete(s.cutOff, id)
		s.Heal(id)
	}
}

// transaction draws what a local transaction does.
func (s *tale) transaction(id string) localTx {
	row := func(label string) int { return rapid.IntRange(1, 4).Draw(s.r, label) }
	s.marks++
	x := localTx{mark: fmt.Sprintf("%s-%d", id, s.marks), node: id}
	kind := rapid.IntRange(0, 6).Draw(s.r, "kind")
	if s.policy == "master" && kind > 1 {
		kind %= 2
	}
	switch kind {
	case 0:
		n := rapid.IntRange(1, 50).Draw(s.r, "amount")
		x.queries = []string{fmt.Sprintf("UPDATE account SET amount = amount - %d WHERE id = %d", n, row("from")), fmt.Sprintf("UPDATE account SET amount = amount + %d WHERE id = %d", n, row("to"))}
	case 1:
		x.queries = []string{fmt.Sprintf("UPDATE account SET name = 'x%d' WHERE id = %d", row("x"), row("row"))}
	case 2:
		x.queries = []string{fmt.Sprintf("DELETE FROM account WHERE id = %d", row("row"))}
	case 3:
		x.queries = []string{fmt.Sprintf("REPLACE INTO account VALUES (%d, 'r%d', %d)", row("row"), row("name"), row("amount"))}
	case 4:
		x.queries = []string{fmt.Sprintf("UPDATE account SET id = id + 10 WHERE id = %d", row("row"))}
	case 5:
		x.queries = []string{fmt.Sprintf("UPDATE account SET name = NULL WHERE id = %d", row("row")), fmt.Sprintf("UPDATE account SET name = 'x%d' WHERE id = %d", row("x"), row("other"))}
	case 6:
		x.queries = []string{"UPDATE account SET amount = amount + 1"}
	}
	x.queries = append(x.queries, fmt.Sprintf("INSERT INTO done VALUES ('%s', '%s')", x.mark, id))
	s.steps = append(s.steps, x.queries...)
	return x
}

// run makes the transaction and returns the accounts as it left them. committed is false if a constraint refused it.
func (s *tale) run(id string, x localTx) (accounts string, committed bool, err error) {
	tx, err := s.Nodes[id].BeginTx(s.Ctx, nil)
	if err != nil {
		return "", false, err
	}
	defer tx.Rollback()
	for _, q := range x.queries {
		if _, err := tx.ExecContext(s.Ctx, q); err != nil {
			if constraint.MatchString(err.Error()) {
				return "", false, nil
			}
			return "", false, fmt.Errorf("%s: %w", q, err)
		}
	}
	rows, err := tx.QueryContext(s.Ctx, "SELECT id, name, amount FROM account")
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, amount int
		var name sql.NullString
		if err := rows.Scan(&id, &name, &amount); err != nil {
			return "", false, err
		}
		text := "null"
		if name.Valid {
			text = strconv.Quote(name.String)
		}
		accounts += fmt.Sprintf(`{"id":%d,"name":%s,"amount":%d}`, id, text, amount)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return "", false, err
	}
	return accounts, true, tx.Commit()
}

var constraint = regexp.MustCompile("(?i)unique|duplicate|deadlock") // the last on MariaDB, with rows that others settle

// write makes a transaction on a node that is up.
func (s *tale) write(id string, x localTx) {
	s.TB.Helper()
	accounts, committed, err := s.run(id, x)
	require.NoError(s.TB, err)
	if committed {
		s.committed[x.mark] = accounts
	}
}

// crash leaves a node as a crash does, amid transactions on a node, and goes on with what is there. Nobody hears of
// what comes after. MariaDB is not crashed here (see internal/crashtest): there the node restarts.
func (s *tale) crash(victim, writer string) {
	s.TB.Helper()
	load := make([]localTx, rapid.IntRange(1, 4).Draw(s.r, "load"))
	for i := range load {
		load[i] = s.transaction(writer)
	}
	after := rapid.IntRange(0, len(load)-1).Draw(s.r, "crash after")
	s.steps = append(s.steps, fmt.Sprint(victim, " crashes after ", after))
	if string(s.Engine) != "sqlite" {
		for _, x := range load {
			s.write(writer, x)
		}
		s.Restart(victim)
		return
	}
	var mu sync.Mutex // guards acked
	acked := make(map[string]string)
	reached, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var failed error
		for i, x := range load {
			if i == after {
				close(reached)
			}
			accounts, committed, err := s.run(writer, x)
			failed = errors.Join(failed, err)
			if committed && err == nil {
				mu.Lock()
				acked[x.mark] = accounts
				mu.Unlock()
			}
		}
		done <- failed
	}()
	<-reached
	for id := range s.Links {
		if id == victim || victim == "master" {
			s.Cut(id)
		}
	}
	mu.Lock()
	if victim == writer { // the others may be gone
		maps.Copy(s.committed, acked)
	}
	mu.Unlock()
	image := crashImage(s.TB, s.DBs[victim])
	require.NoError(s.TB, <-done)
	if victim != writer {
		maps.Copy(s.committed, acked)
	}
	require.NoError(s.TB, s.Nodes[victim].Close())
	require.NoError(s.TB, s.DBs[victim].Close())
	s.DBs[victim] = image
	s.Open(victim, s.Opts[victim])
	for id := range s.Links {
		if !s.cutOff[id] {
			s.Heal(id)
		}
	}
}

// account finds every transaction: accepted ones once and in no conflict of their own, refused ones in the conflicts with
// all the values that they had.
func (s *tale) account() {
	s.TB.Helper()
	conflicts := s.Conflicts("master")
	present := s.Rows("master", "SELECT id FROM done")
	for mark, accounts := range s.committed {
		writer, _, _ := strings.Cut(mark, "-")
		var own []ddb.Conflict
		for _, c := range conflicts {
			if c.Table == "done" && c.Local == (localTx{mark: mark, node: writer}).done() {
				own = append(own, c)
			}
		}
		accepted := strings.Count(present, strconv.Quote(mark))
		require.Equal(s.TB, 1, accepted+len(own), "%s is %d times in the table and has the conflicts %v", mark, accepted, own)
		if accepted == 1 {
			continue
		}
		for _, c := range conflicts {
			if c.Origin == own[0].Origin && c.Batch == own[0].Batch && c.Table == "account" {
				if c.Local != "" {
					require.Contains(s.TB, accounts, c.Local, "%s was refused, and this is not what it had", mark)
				} else {
					require.NotContains(s.TB, accounts, strings.TrimSuffix(c.Key, "}")+",", "%s was refused, and it had deleted no such row", mark)
				}
			}
		}
	}
}

// A batch whose verdict was cut off after the master's commit counts once.
func TestSnapDuplicate(t *testing.T) {
	testcluster.OnEngines(t, func(t *testing.T, e testcluster.Engine) {
		s := testcluster.NewShop(t, e, ddb.Options{}, testcluster.PairSchema, "a")
		for i := range 30 {
			s.Exec("a", fmt.Sprintf("INSERT INTO p VALUES (%d, %d, 'x', 0)", 100+i, i))
			if i%2 == 0 {
				// Cut as soon as the master has it, before the entry can come back.
				require.Eventually(t, func() bool {
					return s.Rows("master", fmt.Sprintf("SELECT id FROM p WHERE id = %d", 100+i)) != ""
				}, testcluster.Patience, 100*time.Microsecond)
				s.Cut("a")
				s.Exec("a", fmt.Sprintf("UPDATE p SET w = w + 1 WHERE id = %d", 100+i))
				s.Heal("a")
			}
		}
		s.Exchange("a")
		s.Same("p")
		require.Empty(t, s.Conflicts("master"))
		require.Equal(t, "[15]", s.Rows("master", "SELECT CAST(SUM(w) AS CHAR) + 0 FROM p"))
	})
}
