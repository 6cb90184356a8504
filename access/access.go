// Package access says who may come into a cluster, how a node proves who it is, and what it may do there: the keys and the
// list of nodes that a master heeds. It decides; who asks is the listener, the settling of batches and what runs statements.
// The root package has its types under names of its own; programs need no more than those.
package access

import (
	"bytes"
	"crypto/hmac"
	"maps"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/journal"
)

// Rules says who may come in, and how a node proves who it is. On a master it is about all nodes, on
// a follower about itself.
type Rules struct {
	// Key is Options.Key.
	Key []byte
	// OldKey is Options.OldKey.
	OldKey []byte
	// Nodes is Options.Nodes. A follower asks nobody for it.
	Nodes map[string]Node
}

// Clone returns a copy that nobody changes any more.
func (a Rules) Clone() *Rules {
	a.Key, a.OldKey, a.Nodes = bytes.Clone(a.Key), bytes.Clone(a.OldKey), maps.Clone(a.Nodes)
	for id, n := range a.Nodes {
		n.Key, n.OldKey, n.Tables = bytes.Clone(n.Key), bytes.Clone(n.OldKey), maps.Clone(n.Tables)
		a.Nodes[id] = n
	}
	return &a
}

// Of returns what is said of a node; ok is false if it is not to come in.
func (a *Rules) Of(id string) (n Node, ok bool) {
	if a.Nodes == nil {
		return Node{}, true
	}
	if n, ok = a.Nodes[id]; !ok {
		n, ok = a.Nodes[""]
	}
	return n, ok
}

// OwnKeys lists the keys that this node has itself, the new one first.
func (a *Rules) OwnKeys() [][]byte { return keyList(a.Key, a.OldKey) }

// KeysOf lists those of which a node must prove one; none: it need not prove any.
func (a *Rules) KeysOf(n Node) [][]byte {
	if own := keyList(n.Key, n.OldKey); len(own) > 0 {
		return own
	}
	return a.OwnKeys()
}

func keyList(keys ...[]byte) (list [][]byte) {
	for _, k := range keys {
		if len(k) > 0 {
			list = append(list, k)
		}
	}
	return list
}

// Admits reports whether a node may come in, or stay, that has proved a key, or none if proved is empty.
func (a *Rules) Admits(id string, r health.Role, proved []byte) bool {
	n, ok := a.Of(id)
	if !ok || n.Role != "" && n.Role != r {
		return false
	}
	keys := a.KeysOf(n)
	for _, k := range keys {
		if hmac.Equal(k, proved) {
			return true
		}
	}
	return len(keys) == 0
}

// Snaps reports whether any snap may come in.
func (a *Rules) Snaps() bool {
	if a.Nodes == nil {
		return true
	}
	for _, n := range a.Nodes {
		if n.Role == "" || n.Role == health.Snap {
			return true
		}
	}
	return false
}

// Open reports whether anybody may come in without proving a key.
func (a *Rules) Open() bool {
	if a.Nodes == nil {
		return len(a.OwnKeys()) == 0
	}
	for _, n := range a.Nodes {
		if len(a.KeysOf(n)) == 0 {
			return true
		}
	}
	return false
}

// ShortKey is how many bytes a key has at least that cannot be guessed.
const ShortKey = 16

// Short reports whether a key can be guessed.
func (a *Rules) Short() bool {
	list := a.OwnKeys()
	for _, n := range a.Nodes {
		list = append(list, keyList(n.Key, n.OldKey)...)
	}
	return slices.ContainsFunc(list, func(k []byte) bool { return len(k) < ShortKey })
}

// MayWrite reports whether a snap's batches may do that to the table. Who is not let in any more may do nothing.
func (a *Rules) MayWrite(snap string, t journal.TableName, op Ops) bool {
	n, ok := a.Of(snap)
	return ok && n.allows(t, op)
}

// RightsOf returns what a node's statements may do on this master.
func (a *Rules) RightsOf(id string, r health.Role) Rights {
	n, ok := a.Of(id)
	switch {
	case !ok:
		return NoRights
	case n.SQL != 0:
		return n.SQL
	}
	return roleRights(r)
}

// Ops is a set of operations.
type Ops uint8

// The operations that a snap can be allowed on a table.
const (
	Insert Ops = 1 << iota
	Update
	Delete
	AllOps = Insert | Update | Delete
)

// Node says how a node proves who it is, and what it may do.
type Node struct {
	// Role is the only one in which the node is let in. Empty: any.
	Role health.Role
	// Key is the node's own secret. Empty: it proves Options.Key like the others.
	Key []byte
	// OldKey is accepted too, while Key is being replaced.
	OldKey []byte
	// SQL is what the node's statements may do on the master. Default: ReadRows and ChangeRows for a replica, which
	// forwards its program's writes; none for a snap, which sends batches, so that its Strong reads, and those of tables
	// that stay on the master, return ErrNotAllowed.
	SQL Rights
	// Tables lists what a snap's batches may do, by "table" or "database.table"; "" stands for all
	// other tables. Nil: everything. A batch that does more is refused and kept as a conflict, also where
	// its rows would win over others: to insert does not include to overwrite.
	Tables map[string]Ops
}

// allows reports whether the snap may do that to the table.
func (a Node) allows(n journal.TableName, op Ops) bool {
	if a.Tables == nil {
		return true
	}
	for _, key := range []string{n.String(), n.Table, ""} {
		if ops, ok := a.Tables[key]; ok {
			return ops&op == op
		}
	}
	return false
}

// Rights say what the statements that another node sends to the master may do there. They are checked where a statement
// runs, whatever the node that sends it thinks of it. Combine them with |.
type Rights uint8

// The rights of a node's statements on the master.
const (
	// ReadRows is to read the program's tables and views, and to set what ends with the sender's own connection, such as its
	// time zone.
	ReadRows Rights = 1 << iota
	// ChangeRows is to insert, update and delete rows of the program's tables, to lock them, and to call functions of
	// the program's own, by a view too.
	ChangeRows
	// ChangeSchema is to create, alter and drop what belongs to the program's databases. What runs with its maker's rights,
	// a procedure or a trigger of MariaDB, can only be dropped by it.
	ChangeSchema
	// Administer is everything else that is not ddb's own: accounts, settings of a server, other databases, files, procedures,
	// PRAGMA, ATTACH, and each statement, function and setting that ddb does not know to be less.
	Administer
	// NoRights takes all away where 0 would mean the role's default.
	NoRights Rights = 0x80
)

// roleRights are a node's rights where Options.Nodes says nothing: a replica forwards its program's
// reads and changes of rows, a snap sends batches, which need no statements.
func roleRights(r health.Role) Rights {
	if r == health.Replica {
		return ReadRows | ChangeRows
	}
	return NoRights
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
