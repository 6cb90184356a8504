package ddb

import (
	"fmt"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/remedy"
	"github.com/ddb-project/ddb/transport"
	"github.com/hashicorp/go-hclog"
)

// Who may come in, and what for, stands in package access, where each type has its documentation and methods.
type (
	// Access says who may come in, and how a node proves who it is. See [access.Rules].
	Access = access.Rules
	// NodeAccess says how a node proves who it is, and what it may do. See [access.Node].
	NodeAccess = access.Node
	// Ops is a set of operations that a snap can be allowed on a table. See [access.Ops].
	Ops = access.Ops
	// Rights say what the statements that another node sends to the master may do there. See [access.Rights].
	Rights = access.Rights
)

// The operations that a snap can be allowed on a table.
const (
	Insert = access.Insert
	Update = access.Update
	Delete = access.Delete
	AllOps = access.AllOps
)

// The rights of a node's statements on the master. Nobody has the right to write to ddb's own tables: nodes would differ for ever.
const (
	ReadRows     = access.ReadRows     // read the program's tables and views
	ChangeRows   = access.ChangeRows   // insert, update and delete their rows
	ChangeSchema = access.ChangeSchema // create, alter and drop them
	Administer   = access.Administer   // everything else that is not ddb's own
	NoRights     = access.NoRights     // none, where 0 would mean the role's default
)

// access returns what the options say.
func (o Options) access() *access.Rules {
	return access.Rules{Key: o.Key, OldKey: o.OldKey, Nodes: o.Nodes}.Clone()
}

// newKey is what an old key alone asks for.
var newKey = remedy.Remedy{Action: remedy.NewKey, Text: "set Key to the one that replaces OldKey"}

// checkAccess refuses an access that contradicts itself, or that would let strangers in.
func (o Options) checkAccess(a *access.Rules) error {
	if len(a.OldKey) > 0 && len(a.Key) == 0 {
		return remedy.New(ErrOptions, "there is an old key and none that replaces it", newKey)
	}
	for id, n := range a.Nodes {
		switch {
		case id != "" && link.CheckID(id) != nil:
			return fmt.Errorf("%w: Nodes: %w", ErrOptions, link.CheckID(id))
		case n.Role != "" && n.Role != Replica && n.Role != Snap:
			return fmt.Errorf("%w: Nodes: node %q: role %q is none of replica, snap", ErrOptions, id, n.Role)
		case len(n.OldKey) > 0 && len(n.Key) == 0:
			return remedy.New(ErrOptions, fmt.Sprintf("Nodes: node %q: there is an old key and none that replaces it", id), remedy.Remedy{Text: newKey.Text})
		}
	}
	if exposed, why := o.exposed(a); exposed && !o.AllowInsecure {
		return remedy.New(ErrOptions, fmt.Sprintf("the master would listen on %s for anybody who connects, and %s", o.Listen, why),
			remedy.Remedy{Action: remedy.SetKey, Text: `set Options.Key on every node ("openssl rand -hex 32" makes one)`},
			remedy.Remedy{Action: remedy.ClientCertificates, Text: "ask clients for certificates"},
			remedy.Remedy{Action: remedy.AllowInsecure, Text: "set AllowInsecure if that is what you mean"})
	}
	return nil
}

// exposed reports whether strangers can reach a master that asks somebody for no key, and how.
func (o Options) exposed(a *access.Rules) (bool, string) {
	t, ok := o.Transport.(transport.Exposure)
	if o.Role != Master || o.Listen == "" || !ok || !a.Open() {
		return false, ""
	}
	return t.Exposed(o.Listen)
}

// warnAccess warns of what lets strangers in.
func warnAccess(log hclog.Logger, o Options, a *access.Rules) {
	if exposed, why := o.exposed(a); exposed {
		log.Warn("whoever reaches this master may follow it, read everything and change rows: there are nodes that need no key", "listen", o.Listen, "reason", why)
	}
	if a.Short() {
		log.Warn(fmt.Sprintf("a key is shorter than %d bytes and may be guessed; make one with: openssl rand -hex 32", access.ShortKey))
	}
}

// SetAccess replaces Options.Key, OldKey and Nodes while the node is open. On a master whoever may not come in any more is
// disconnected at once: statements that it has sent are stopped, transactions of its are rolled
// back, and batches of a snap that have not been settled are refused and kept as conflicts. On a follower it counts from the next
// connection on, which one that is not connected tries at once.
//
// To replace the key of a cluster give the master the new one as Key and the present one as OldKey, then likewise each follower, then
// each of them no OldKey any more. Nothing is disconnected until the last step, and then only who still has the old one.
//
// It returns ErrOptions, and changes nothing, where Open would, and on a master that accepted no snap when it was opened
// if a is to let snaps in. What is given here is not kept: give the same to the next Open.
func (c *Cluster) SetAccess(a access.Rules) (err error) {
	defer fault.Door("set access", &err)
	if c.node == nil {
		return fmt.Errorf("%w: a Cluster made by Wrap lets nobody in", ErrOptions)
	}
	next := a.Clone()
	if err := c.opts.checkAccess(next); err != nil {
		return err
	}
	if c.m != nil && c.m.settler == nil && c.opts.Listen != "" && next.Snaps() {
		return fmt.Errorf("%w: Nodes lets snaps in, and this master was opened to accept none; open it again with these Nodes", ErrOptions)
	}
	warnAccess(c.log, c.opts, next)
	c.access.Store(next)
	if c.m != nil {
		c.m.fleet.TurnOut()
	}
	if c.f != nil {
		c.f.Again()
	}
	return nil
}

// Allow reports whether a sender with these rights may run the query, or each of several statements in one text,
// through this Cluster: nil, or ErrNotAllowed with the right that is missing. It looks at the text only
// and runs nothing. Where a text can be read in several ways, as settings of a server have it, the worst counts.
func (c *Cluster) Allow(query string, r Rights) (err error) {
	defer fault.Door("allow", &err)
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
