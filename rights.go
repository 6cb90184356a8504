package ddb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// Allow reports whether a sender with these rights may run the query, or each of several statements in one text,
// through this Cluster: nil, or ErrNotAllowed with the right that is missing. It looks at the text only
// and runs nothing. Where a text can be read in several ways, as settings of a server have it, the worst counts.
func (c *Cluster) Allow(query string, r Rights) error {
	need, reason := c.needs(query)
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
	if r&NoRights != 0 {
		missing |= ReadRows
	}
	if reason != "" {
		reason = ", since it " + reason
	}
	return fmt.Errorf("%w: the statement needs the right %s%s: %s", ErrNotAllowed, missing, reason, sqlclass.Brief(query))
}

// needed is what a text needs, given what names meant then.
type needed struct {
	cat    *store.Catalogue
	more   *[]string
	need   rights.Need
	reason string
}

// needs returns what a statement needs, from the cache if names mean what they did.
func (c *Cluster) needs(query string) (rights.Need, string) {
	if c.settles(query) {
		return rights.Change, ""
	}
	if c.node == nil || len(query) > classifiedMax {
		return rights.Needs(c.class, query, c.scope())
	}
	e := c.kinds.of(c.class, query)
	cat, more := c.node.Tables.Load(), c.node.More.Load()
	n := e.needed.Load()
	if n == nil || n.cat != cat || n.more != more {
		n = &needed{cat: cat, more: more}
		n.need, n.reason = rights.Needs(c.class, query, c.scope())
		e.needed.Store(n)
	}
	return n.need, n.reason
}

// scope returns what the names in a statement may mean on this node.
func (c *Cluster) scope() rights.Scope {
	n := c.node
	if n == nil {
		return rights.Scope{}
	}
	s := rights.Scope{Own: c.kinds.own}
	if c.class == sqlclass.MySQL {
		s.Databases = slices.Concat([]string{n.Primary}, c.opts.Databases, n.MoreDatabases())
	}
	if cat := n.Tables.Load(); cat != nil {
		s.Functions, s.Writers, s.OwnViews = cat.Functions, cat.Writers, cat.OverOwn
	}
	return s
}

// knowOwn keeps how a text would name ddb's own tables here.
func (c *Cluster) knowOwn() {
	if c.class == sqlclass.MySQL {
		c.kinds.own = c.node.Primary + "_ddb"
	}
}

// refuseOwn refuses what names ddb's own tables and is no plain read: the nodes would differ for ever.
func (c *Cluster) refuseOwn(query string) error {
	if c.node == nil {
		return nil
	}
	var views []string
	if cat := c.node.Tables.Load(); cat != nil {
		views = cat.OverOwn
	}
	if len(views) == 0 && len(query) > classifiedMax && !rights.Marked(query) {
		return nil // it is not worth reading twice
	}
	e := c.kinds.of(c.class, query)
	own := e.own || len(views) > 0 && e.kind != sqlclass.Read && rights.OwnTables(c.class, query, rights.Scope{Own: c.kinds.own, OwnViews: views})
	if !own || c.settles(query) {
		return nil
	}
	return fmt.Errorf("%w: the statement %s: %s", ErrNotAllowed, rights.OwnReason, sqlclass.Brief(query))
}

// settles reports whether a statement is the one by which ddb itself marks a conflict as settled, which a
// replica sends to the master.
func (c *Cluster) settles(query string) bool {
	return c.node != nil && strings.HasPrefix(query, "UPDATE ") && query == settleStatement(c.node.Engine.Own("conflicts"))
}

// settleStatement marks a conflict in the table as settled.
func settleStatement(table string) string {
	return "UPDATE " + table + " SET state = ? WHERE id = ? AND state = 'open'"
}

// allowNode is asked before a statement of another node's runs here.
func (c *Cluster) allowNode(id string, role Role, query string) error {
	r := c.access.Load().RightsOf(id, role)
	if err := mayAsk(id, role, r); err != nil {
		return err
	}
	if err := c.Allow(query, r); err != nil {
		return fmt.Errorf("%w (%s %s has %s on the master by Options.Nodes[%q].SQL)", err, role, id, r, id)
	}
	return nil
}

// allowBegin is asked before another node begins a transaction here: one that may write keeps others waiting.
func (c *Cluster) allowBegin(id string, role Role, readOnly bool) error {
	r := c.access.Load().RightsOf(id, role)
	if err := mayAsk(id, role, r); err != nil {
		return err
	}
	if r&ReadRows == 0 || !readOnly && r&ChangeRows == 0 {
		return fmt.Errorf("%w: %s %s has %s on the master by Options.Nodes[%q].SQL, and may begin no transaction that could do more", ErrNotAllowed, role, id, r, id)
	}
	return nil
}

// mayAsk refuses the statements of a node without rights.
func mayAsk(id string, role Role, r Rights) error {
	if r != 0 && r&NoRights == 0 {
		return nil
	}
	return fmt.Errorf("%w: the master takes no statements from %s %s: there, give it ReadRows in Options.Nodes[%q].SQL", ErrNotAllowed, role, id, id)
}
