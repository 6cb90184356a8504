package ddb

import (
	"bytes"
	"crypto/hmac"
	"fmt"
	"maps"
	"slices"

	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/watch"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/transport"
	"github.com/hashicorp/go-hclog"
)

// Access says who may come in, and how a node proves who it is. On a master it is about all nodes, on
// a follower about itself.
type Access struct {
	// Key is Options.Key.
	Key []byte
	// OldKey is Options.OldKey.
	OldKey []byte
	// Nodes is Options.Nodes. A follower asks nobody for it.
	Nodes map[string]NodeAccess
}

// access returns what the options say.
func (o Options) access() *Access {
	return Access{Key: o.Key, OldKey: o.OldKey, Nodes: o.Nodes}.clone()
}

// clone returns a copy that nobody changes any more.
func (a Access) clone() *Access {
	a.Key, a.OldKey, a.Nodes = bytes.Clone(a.Key), bytes.Clone(a.OldKey), maps.Clone(a.Nodes)
	for id, n := range a.Nodes {
		n.Key, n.OldKey, n.Tables = bytes.Clone(n.Key), bytes.Clone(n.OldKey), maps.Clone(n.Tables)
		a.Nodes[id] = n
	}
	return &a
}

// node returns what is said of a node; ok is false if it is not to come in.
func (a *Access) node(id string) (n NodeAccess, ok bool) {
	if a.Nodes == nil {
		return NodeAccess{}, true
	}
	if n, ok = a.Nodes[id]; !ok {
		n, ok = a.Nodes[""]
	}
	return n, ok
}

// own lists the keys that this node has itself, the new one first.
func (a *Access) own() [][]byte { return keyList(a.Key, a.OldKey) }

// keys lists those of which a node must prove one; none: it need not prove any.
func (a *Access) keys(n NodeAccess) [][]byte {
	if own := keyList(n.Key, n.OldKey); len(own) > 0 {
		return own
	}
	return a.own()
}

func keyList(keys ...[]byte) (list [][]byte) {
	for _, k := range keys {
		if len(k) > 0 {
			list = append(list, k)
		}
	}
	return list
}

// admits reports whether a node may come in, or stay, that has proved a key, or none if proved is empty.
func (a *Access) admits(id string, r Role, proved []byte) bool {
	n, ok := a.node(id)
	if !ok || n.Role != "" && n.Role != r {
		return false
	}
	keys := a.keys(n)
	for _, k := range keys {
		if hmac.Equal(k, proved) {
			return true
		}
	}
	return len(keys) == 0
}

// snaps reports whether any snap may come in.
func (a *Access) snaps() bool {
	if a.Nodes == nil {
		return true
	}
	for _, n := range a.Nodes {
		if n.Role == "" || n.Role == Snap {
			return true
		}
	}
	return false
}

// open reports whether anybody may come in without proving a key.
func (a *Access) open() bool {
	if a.Nodes == nil {
		return len(a.own()) == 0
	}
	for _, n := range a.Nodes {
		if len(a.keys(n)) == 0 {
			return true
		}
	}
	return false
}

// shortKey is how many bytes a key has at least that cannot be guessed.
const shortKey = 16

// short reports whether a key can be guessed.
func (a *Access) short() bool {
	list := a.own()
	for _, n := range a.Nodes {
		list = append(list, keyList(n.Key, n.OldKey)...)
	}
	return slices.ContainsFunc(list, func(k []byte) bool { return len(k) < shortKey })
}

// checkAccess refuses an access that contradicts itself, or that would let strangers in.
func (o Options) checkAccess(a *Access) error {
	if len(a.OldKey) > 0 && len(a.Key) == 0 {
		return fmt.Errorf("%w: OldKey is set and Key is not; OldKey is the one that Key replaces", ErrOptions)
	}
	for id, n := range a.Nodes {
		switch {
		case id != "" && link.CheckID(id) != nil:
			return fmt.Errorf("%w: Nodes: %w", ErrOptions, link.CheckID(id))
		case n.Role != "" && n.Role != Replica && n.Role != Snap:
			return fmt.Errorf("%w: Nodes: node %q: role %q is none of replica, snap", ErrOptions, id, n.Role)
		case len(n.OldKey) > 0 && len(n.Key) == 0:
			return fmt.Errorf("%w: Nodes: node %q: OldKey is set and Key is not; OldKey is the one that Key replaces", ErrOptions, id)
		}
	}
	if exposed, why := o.exposed(a); exposed && !o.AllowInsecure {
		return fmt.Errorf("%w: the master would listen on %s for anybody who connects, and %s; set Options.Key on every node (\"openssl rand -hex 32\" makes one), "+
			"or ask clients for certificates, or set AllowInsecure if that is what you mean", ErrOptions, o.Listen, why)
	}
	return nil
}

// exposed reports whether strangers can reach a master that asks somebody for no key, and how.
func (o Options) exposed(a *Access) (bool, string) {
	t, ok := o.Transport.(transport.Exposure)
	if o.Role != Master || o.Listen == "" || !ok || !a.open() {
		return false, ""
	}
	return t.Exposed(o.Listen)
}

// warnAccess warns of what lets strangers in.
func warnAccess(log hclog.Logger, o Options, a *Access) {
	if exposed, why := o.exposed(a); exposed {
		log.Warn("whoever reaches this master may follow it, read everything and change rows: there are nodes that need no key", "listen", o.Listen, "reason", why)
	}
	if a.short() {
		log.Warn(fmt.Sprintf("a key is shorter than %d bytes and may be guessed; make one with: openssl rand -hex 32", shortKey))
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
func (c *Cluster) SetAccess(a Access) error {
	if c.node == nil {
		return fmt.Errorf("%w: a Cluster made by Wrap lets nobody in", ErrOptions)
	}
	next := a.clone()
	if err := c.opts.checkAccess(next); err != nil {
		return wrapError("set access", err)
	}
	if c.m != nil && !c.m.settles && c.opts.Listen != "" && next.snaps() {
		return wrapError("set access", fmt.Errorf("%w: Nodes lets snaps in, and this master was opened to accept none; open it again with these Nodes", ErrOptions))
	}
	warnAccess(c.log, c.opts, next)
	c.access.Store(next)
	if c.m != nil {
		c.m.turnOut()
	}
	if c.f != nil {
		watch.Signal(c.f.anew)
	}
	return nil
}

// turnOut ends the connections of those who may not come in any more.
func (m *master) turnOut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	access := m.access.Load()
	for _, f := range m.followers {
		f.mu.Lock()
		if l := f.link; l != nil && !access.admits(f.id, f.role, l.proved) {
			m.seq.node.Log.Warn("a follower is let in no more", "id", f.id, "from", l.address)
			l.ended = errTurnedOut
			l.close(errTurnedOut)
		}
		f.mu.Unlock()
	}
}

// errTurnedOut is why a connection ends that was let in by an access that has been replaced.
var errTurnedOut = fmt.Errorf("%w any more: its key or its place in Options.Nodes is gone", ErrUnknownNode)

// mayWrite reports whether a snap's batches may do that to the table. Who is not let in any more may do nothing.
func (a *Access) mayWrite(snap string, t journal.TableName, op Ops) bool {
	n, ok := a.node(snap)
	return ok && n.allows(t, op)
}

// rights returns what a node's statements may do on this master.
func (a *Access) rights(id string, r Role) Rights {
	n, ok := a.node(id)
	switch {
	case !ok:
		return NoRights
	case n.SQL != 0:
		return n.SQL
	}
	return roleRights(r)
}
