package ddb

import (
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Rights say what the statements that another node sends to the master may do there. They are checked where a statement
// runs, whatever the node that sends it thinks of it. Combine them with |.
type Rights uint8

// The rights of a node's statements on the master.
const (
	// ReadRows is to read the program's tables and views.
	ReadRows Rights = 1 << iota
	// ChangeRows is to insert, update and delete rows of the program's tables.
	ChangeRows
	// ChangeSchema is to create, alter and drop what belongs to the program's databases.
	ChangeSchema
	// Administer is what concerns the server or the file rather than the program's rows: accounts, settings of a server,
	// PRAGMA, ATTACH, files.
	Administer
	// NoRights takes all away where 0 would mean the role's default.
	NoRights Rights = 0x80
)

// Nobody has the right to write to ddb's own tables: nodes would differ for ever.

// roleRights are a node's rights where Options.Nodes says nothing: a replica forwards its program's
// reads and changes of rows, a snap sends batches, which need no statements.
func roleRights(r Role) Rights {
	if r == Replica {
		return ReadRows | ChangeRows
	}
	return NoRights
}

// access returns what the master's options say of a node; ok is false if it is not to come in.
func (o Options) access(id string) (a NodeAccess, ok bool) {
	if o.Nodes == nil {
		return NodeAccess{}, true
	}
	if a, ok = o.Nodes[id]; !ok {
		a, ok = o.Nodes[""]
	}
	return a, ok
}

// mayWrite reports whether a snap's batches may do that to the table. Who is not let in any more may do nothing.
func (o Options) mayWrite(snap string, n tableName, op Ops) bool {
	a, ok := o.access(snap)
	return ok && a.allows(n, op)
}

// rights returns what the node's statements may do on this master.
func (o Options) rights(id string, r Role) Rights {
	a, ok := o.access(id)
	switch {
	case !ok:
		return NoRights
	case a.SQL != 0:
		return a.SQL
	}
	return roleRights(r)
}

// Allow reports whether a sender with these rights may run the query, or each of several statements in one text,
// through this Cluster: nil, or ErrNotAllowed with the right that is missing. It looks at the text only
// and runs nothing. Where a text can be read in several ways, as settings of a server have it, the worst counts.
func (c *Cluster) Allow(query string, r Rights) error {
	need, reason := rights.Needs(c.class, query, c.scope())
	var missing Rights
	switch need {
	case rights.Read:
		missing = ReadRows
	case rights.Change:
		missing = ReadRows | ChangeRows
	case rights.Schema:
		missing = ChangeSchema
	case rights.Administer:
		missing = Administer
	default:
		return fmt.Errorf("%w: it %s: %s", ErrNotAllowed, reason, sqlclass.Brief(query))
	}
	if missing &^= r; r&NoRights == 0 && missing == 0 {
		return nil
	}
	if reason != "" {
		reason = ", since it " + reason
	}
	return fmt.Errorf("%w: the statement needs the right %s%s: %s", ErrNotAllowed, missing, reason, sqlclass.Brief(query))
}

// scope returns what the names in a statement may mean on this node.
func (c *Cluster) scope() rights.Scope {
	n := c.node
	if n == nil {
		return rights.Scope{}
	}
	s := rights.Scope{}
	if c.class == sqlclass.MySQL {
		s.Own = n.primary + "_ddb"
		s.Databases = append(append([]string{n.primary}, n.opts.Databases...), n.moreDatabases()...)
	}
	if cat := n.tables.Load(); cat != nil {
		s.Writers = cat.disguised
	}
	return s
}

// String lists the rights by their names.
func (r Rights) String() string {
	var names []string
	for _, right := range []struct {
		bit  Rights
		name string
	}{{ReadRows, "ReadRows"}, {ChangeRows, "ChangeRows"}, {ChangeSchema, "ChangeSchema"}, {Administer, "Administer"}} {
		if r&right.bit != 0 && r&NoRights == 0 {
			names = append(names, right.name)
		}
	}
	if len(names) == 0 {
		return "NoRights"
	}
	return strings.Join(names, "|")
}
