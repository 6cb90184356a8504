package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/journal"
)

// Catalogue is what is known of the tables. It is immutable; a new one replaces it.
type Catalogue struct {
	Version string // dialect.Schema.Version when it was read
	List    []*dialect.Table
	ByName  map[journal.TableName]*dialect.Table
	// Functions are the user's: stored ones, and on SQLite those that the program has registered.
	Functions []string
	// Disguised are the user's functions, in lower case, that have the name of one that another server has built in.
	Disguised []string
	// Writers are the views, in lower case, that call a function of the user's, which may write.
	Writers []string
	// OverOwn are the views, in lower case, that show tables of ddb's own.
	OverOwn []string
}

func (n *Store) newCatalogue(version string, list []*dialect.Table) *Catalogue {
	c := &Catalogue{Version: version, List: list, ByName: make(map[journal.TableName]*dialect.Table, len(list))}
	for _, t := range list {
		c.ByName[n.Name(t)] = t
	}
	return c
}

// Replicated lists the tables that can be replicated.
func (c *Catalogue) Replicated() []*dialect.Table {
	var list []*dialect.Table
	for _, t := range c.List {
		if t.Refusal == "" {
			list = append(list, t)
		}
	}
	return list
}

// Users returns how many tables of the user's are replicated.
func (c *Catalogue) Users() (n int) {
	for _, t := range c.Replicated() {
		if !t.Own {
			n++
		}
	}
	return n
}

// LoadTables reads the catalogue from the database and makes it the node's.
func (n *Store) LoadTables(ctx context.Context, q dialect.Querier) (*Catalogue, error) {
	c, err := n.ReadTables(ctx, q)
	if err == nil {
		n.Tables.Store(c)
	}
	return c, err
}

// Follow is LoadTables where nothing has changed the schema, since the catalogue was as before, but the statements, which have run: it
// reads only what those may have changed, and returns that too. objects is what Engine.Objects had told before, and now what it tells; with
// none, some statements cannot be followed. If the scope is nil, all must be read and nothing has been.
func (n *Store) Follow(ctx context.Context, q dialect.Querier, before *Catalogue, objects []dialect.Object, statements []dialect.Statement) (c *Catalogue, now []dialect.Object, scope dialect.Scope, err error) {
	e, ok := n.Engine.(dialect.ScopeReader)
	if ok {
		scope, ok = e.ScopeOf(before.List, objects, statements)
	}
	if !ok {
		return nil, nil, nil, nil
	}
	version, err := n.Engine.Version(ctx, q)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("node %s: schema version: %w", n.ID, err)
	}
	list, now, err := e.ReadScope(ctx, q, scope, before.List, objects)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("node %s: read tables: %w", n.ID, err)
	}
	if c, err = n.catalogueOf(ctx, q, version, list); err != nil {
		return nil, nil, nil, err
	}
	n.Tables.Store(c)
	return c, now, scope, nil
}

// ReadTables reads the catalogue from the database.
func (n *Store) ReadTables(ctx context.Context, q dialect.Querier) (*Catalogue, error) {
	version, err := n.Engine.Version(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("node %s: schema version: %w", n.ID, err)
	}
	list, err := n.Engine.Tables(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("node %s: read tables: %w", n.ID, err)
	}
	return n.catalogueOf(ctx, q, version, list)
}

// catalogueOf makes a catalogue of the tables that were read at that version, and reads what there is besides.
func (n *Store) catalogueOf(ctx context.Context, q dialect.Querier, version string, list []*dialect.Table) (c *Catalogue, err error) {
	c = n.newCatalogue(version, list)
	if e, ok := n.Engine.(dialect.FunctionLister); ok {
		if c.Functions, err = e.Functions(ctx, q); err != nil {
			return nil, fmt.Errorf("node %s: read functions: %w", n.ID, err)
		}
		for _, f := range c.Functions {
			if n.Dialect.Language() == dialect.MySQL && sqlclass.BuiltIn(f) {
				c.Disguised = append(c.Disguised, strings.ToLower(f))
			}
		}
	}
	if e, ok := n.Engine.(dialect.ViewLister); ok {
		views, err := e.Views(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("node %s: read views: %w", n.ID, err)
		}
		c.lookInto(views, n.Engine.OwnDatabase(n.Primary))
	}
	return c, nil
}

// lookInto finds, on a server, the views that may write when they are read, and those that show ddb's own tables. views holds
// their definitions, empty ones where the server does not tell.
func (c *Catalogue) lookInto(views map[string]string, own string) {
	names := make(map[string]map[string]bool, len(views))
	for view, text := range views {
		names[view] = sqlclass.Names(sqlclass.MySQL, text)
		if sqlclass.Classify(sqlclass.MySQL, text) != sqlclass.Read {
			c.Writers = append(c.Writers, view)
		}
		if rights.Marked(text) && rights.OwnTables(sqlclass.MySQL, text, rights.Scope{Own: own}) {
			c.OverOwn = append(c.OverOwn, view)
		}
	}
	spread(&c.Writers, names)
	spread(&c.OverOwn, names)
}

// spread adds the views that name one of the list, directly or by another view.
func spread(list *[]string, names map[string]map[string]bool) {
	for grown := true; grown; {
		grown = false
		for view, named := range names {
			if !slices.Contains(*list, view) && slices.ContainsFunc(*list, func(n string) bool { return named[n] }) {
				*list, grown = append(*list, view), true
			}
		}
	}
}
