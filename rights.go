package ddb

import (
	"fmt"

	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Allow reports whether a sender with these rights may run the query, or each of several statements in one text,
// through this Cluster: nil, or ErrNotAllowed with the right that is missing. It looks at the text only
// and runs nothing. Where a text can be read in several ways, as settings of a server have it, the worst counts.
func (c *Cluster) Allow(query string, r Rights) error {
	need, reason := c.texts.Needs(query)
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
