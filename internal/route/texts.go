package route

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// Texts tells what the texts of statements are on a node. It keeps what it has found out: programs run few texts often.
type Texts struct {
	Class sqlclass.Dialect // the language of the statements

	node      *store.Store // nil where somebody else replicates
	own       string       // ddb's own database on a server
	databases []string     // those that are replicated beside the node's own, by its options
	settling  string       // the one statement on ddb's own tables that another node may send; "" for none

	seed  maphash.Seed
	slots [1024]atomic.Pointer[Statement]
}

// keptBytes is how long a text is at most that is worth keeping for when it comes again.
const keptBytes = 4 << 10

// NewTexts returns what reads the statements of that class. On a node, databases are those that its options name beside its own, and
// settling the one statement on ddb's own tables that another node may send; n is nil where somebody else replicates.
func NewTexts(class sqlclass.Dialect, n *store.Store, databases []string, settling string) *Texts {
	k := &Texts{Class: class, node: n, databases: databases, settling: settling, seed: maphash.MakeSeed()}
	if n != nil {
		k.own = n.Engine.OwnDatabase(n.Primary)
	}
	return k
}

// Read returns what the text is.
func (k *Texts) Read(text string) *Statement {
	if len(text) > keptBytes {
		return k.read(text)
	}
	slot := &k.slots[maphash.String(k.seed, text)%uint64(len(k.slots))]
	if s := slot.Load(); s != nil && s.SQL == text {
		return s
	}
	s := k.read(strings.Clone(text)) // not to keep what it may be a part of
	slot.Store(s)
	return s
}

// IsRead is [Statement.IsRead] of the text: of a long one, as most are that are not worth keeping, no more is worked out.
func (k *Texts) IsRead(text string) bool {
	if len(text) <= keptBytes {
		return k.Read(text).IsRead()
	}
	return sqlclass.Classify(k.Class, text) == sqlclass.Read && k.plain(text)
}

// plain reports whether a text that is a read calls no function of the user's, by itself or by a view.
func (k *Texts) plain(text string) bool {
	if k.node == nil {
		return true
	}
	cat := k.node.Tables.Load()
	if cat == nil || len(cat.Disguised)+len(cat.Writers) == 0 {
		return true
	}
	names := sqlclass.Names(k.Class, text)
	named := func(name string) bool { return names[strings.ToLower(name)] }
	return !slices.ContainsFunc(cat.Disguised, named) && !slices.ContainsFunc(cat.Writers, named)
}

// needed is what a text needs, given what names meant then.
type needed struct {
	cat    *store.Catalogue
	more   *[]string
	need   rights.Need
	reason string
}

// Needs returns what right a statement needs, and why if that does not show, from the cache if names mean what they did.
func (k *Texts) Needs(query string) (need rights.Need, reason string) {
	if k.settles(query) {
		return rights.Change, ""
	}
	if k.node == nil || len(query) > keptBytes {
		return rights.Needs(k.Class, query, k.scope())
	}
	e := k.Read(query)
	cat, more := k.node.Tables.Load(), k.node.More.Load()
	n := e.needed.Load()
	if n == nil || n.cat != cat || n.more != more {
		n = &needed{cat: cat, more: more}
		n.need, n.reason = rights.Needs(k.Class, query, k.scope())
		e.needed.Store(n)
	}
	return n.need, n.reason
}

// scope returns what the names in a statement may mean on this node.
func (k *Texts) scope() rights.Scope {
	n := k.node
	if n == nil {
		return rights.Scope{}
	}
	s := rights.Scope{Own: k.own}
	if k.Class == sqlclass.MySQL {
		s.Databases = slices.Concat([]string{n.Primary}, k.databases, n.MoreDatabases())
	}
	if cat := n.Tables.Load(); cat != nil {
		s.Functions, s.Writers, s.OwnViews = cat.Functions, cat.Writers, cat.OverOwn
	}
	return s
}

// settles reports whether a statement is the one by which ddb itself marks a conflict as settled, which a
// replica sends to the master.
func (k *Texts) settles(query string) bool { return k.settling != "" && query == k.settling }
