package sequence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/schema"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// refuseKind refuses to make what followers would not get.
func refuseKind(n *store.Store, query string) error {
	info, err := sqlclass.ParseSchema(n.Dialect.Language(), query)
	if err != nil || info.Verb != "CREATE" || !schema.Stays(info.Object) {
		return nil // others may be changed and dropped where they are
	}
	reason := "create it as functions and procedures"
	switch info.Object {
	case "EVENT":
		reason = "it would run on every node; create it on the master's own *sql.DB, and again on a node that becomes the master"
	case "SEQUENCE":
		reason = "its values are handed out apart from transactions; use an AUTO_INCREMENT column, or create it on the master's own *sql.DB, where it stays"
	}
	return fmt.Errorf("%w: %s %s: %s", fault.ErrNotReplicable, strings.ToLower(info.Object), info.Name, reason)
}

// refuseKeyless refuses, before it is sent, to make a table whose text shows that it would have no primary key: the server
// would commit the transaction that it is in, and then it would be undone. An IF NOT EXISTS may find the table there, and one that
// is the master's own already may be replaced.
func refuseKeyless(ctx context.Context, n *store.Store, query string) error {
	giver, ok := n.Engine.(dialect.KeyGiver)
	if !ok || n.Engine.Transactional() || !sqlclass.Keyless(query) {
		return nil
	}
	info, err := sqlclass.ParseSchema(n.Dialect.Language(), query)
	if err != nil {
		return nil // the database words it better
	}
	replicated := slices.ContainsFunc(n.Tables.Load().List, func(t *dialect.Table) bool { return strings.EqualFold(t.Name, info.Name) && t.Refusal == "" })
	if info.IfNotExists || info.OrReplace && !replicated {
		if there, err := giver.HasTable(ctx, n.DB, info.Name); err != nil || there {
			return err
		}
	}
	if gives, err := giver.GivesKeys(ctx, n.DB); err != nil || gives {
		return err
	}
	return fmt.Errorf("%w: table %s has no primary key: declare the columns that identify a row PRIMARY KEY, or add a column id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY; "+
		"nothing has been run", fault.ErrNotReplicable, info.Name)
}

// refuse undoes a statement that made a table which cannot be replicated, and no other table: only one that was not
// there before is dropped. What was refused before may be changed as its owner likes.
func (turn *Turn) refuse(ctx context.Context, before *store.Catalogue, st *schema.State, statements []dialect.Statement) error {
	if len(statements) == 0 {
		for _, t := range st.Cat.List {
			if t.Refusal != "" {
				turn.node.Log.Warn("a table is not replicated", "table", turn.node.Name(t), "reason", t.Refusal)
			}
		}
		return nil
	}
	same, err := sameName(ctx, turn.node, turn.Conn)
	if err != nil {
		return err
	}
	for i := range statements {
		info, err := sqlclass.ParseSchema(turn.node.Dialect.Language(), statements[i].SQL)
		if err != nil || info.Object != "TABLE" || info.Temporary || info.Verb == "DROP" {
			continue
		}
		named := append([]sqlclass.Name{{Database: info.Database, Name: info.Name}}, info.More...)
		if slices.ContainsFunc(named, func(n sqlclass.Name) bool {
			t := turn.s.named(before, statements[i].Database, n, same)
			return t != nil && t.Refusal != ""
		}) {
			continue
		}
		for _, n := range named {
			t := turn.s.named(st.Cat, statements[i].Database, n, same)
			if t == nil || t.Refusal == "" {
				continue
			}
			refusal := fmt.Errorf("%w: table %s: %s", fault.ErrNotReplicable, t.Name, t.Refusal)
			switch {
			case turn.node.Engine.Transactional(): // it is rolled back
			case info.Verb == "CREATE" && before.ByName[turn.node.Name(t)] == nil:
				refusal = errors.Join(refusal, dropNew(ctx, turn.Conn, t, info))
			default:
				refusal = fmt.Errorf("%w; the statement has run, and until then the table is on the master only", refusal)
			}
			return refusal
		}
	}
	return nil
}

// named finds the table that a statement means, which names it n.
func (s *Sequencer) named(cat *store.Catalogue, database string, n sqlclass.Name, same func(a, b string) bool) *dialect.Table {
	if n.Database != "" && s.node.Primary != "" {
		database = n.Database
	}
	for _, t := range cat.List {
		if has := s.node.Name(t); same(has.Database, s.node.Logical(database)) && same(has.Table, n.Name) {
			return t
		}
	}
	return nil
}

// sameName returns how the database compares the names of tables.
func sameName(ctx context.Context, n *store.Store, q dialect.Querier) (same func(a, b string) bool, err error) {
	if folder, ok := n.Engine.(dialect.NameFolder); ok {
		folds, err := folder.FoldsNames(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.ID, err)
		}
		if folds {
			return strings.EqualFold, nil
		}
	}
	return func(a, b string) bool { return a == b }, nil
}

// dropNew drops a table that a statement has just made. IF NOT EXISTS may have found one that another client made
// a moment before, so with it only an empty one is dropped.
func dropNew(ctx context.Context, c *sql.Conn, t *dialect.Table, info sqlclass.SchemaInfo) error {
	name := store.QuoteName(t.Database, t.Name)
	if info.IfNotExists {
		var one int
		err := dialect.ScanOne(ctx, c, []any{&one}, "SELECT 1 FROM "+name+" LIMIT 1")
		if err == nil {
			return fmt.Errorf("table %s has rows and was left on the master", t.Name)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	_, err := c.ExecContext(ctx, "DROP TABLE "+name)
	return err
}
