package route

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
)

// Texts tells what the texts of statements are on a node. It caches what it finds out: programs run few texts often.
type Texts struct {
	Class sqlclass.Dialect // the language of the statements

	node      *store.Store // nil where somebody else replicates
	own       string       // ddb's own database on a server
	databases []string     // those that are replicated beside the node's own, by its options
	settling  string       // the one statement on ddb's own tables that another node may send; "" for none

	seed  maphash.Seed
	slots [1024]atomic.Pointer[classifiedText]
	long  atomic.Pointer[classifiedText] // the last text longer than classifiedMax: a statement asks several times
}

type classifiedText struct {
	text  string
	kind  sqlclass.Kind
	asks  bool // for the last change of its connection; see AsksLast
	state sqlclass.State
	own   bool // it names ddb's own tables and is no plain read; see RefuseOwn

	unread error // why nobody knows what it runs

	needed atomic.Pointer[needed] // what it was last found to need; see needs
}

const (
	classifiedMax  = 4 << 10 // longer texts are not worth keeping for when they come again
	classifiedLong = 4 << 20 // nor these for the statement's own time
)

// NewTexts returns what reads the statements of that class. On a node, databases are those that its options name beside its own, and
// settling the one statement on ddb's own tables that another node may send; n is nil where somebody else replicates.
func NewTexts(class sqlclass.Dialect, n *store.Store, databases []string, settling string) *Texts {
	k := &Texts{Class: class, node: n, databases: databases, settling: settling, seed: maphash.MakeSeed()}
	if n != nil && class == sqlclass.MySQL {
		k.own = n.Primary + "_ddb"
	}
	return k
}

// find returns what is kept of the text, nil if that is nothing, and where it is kept.
func (k *Texts) find(text string) (*classifiedText, *atomic.Pointer[classifiedText]) {
	slot := &k.long
	if len(text) <= classifiedMax {
		slot = &k.slots[maphash.String(k.seed, text)%uint64(len(k.slots))]
	}
	if e := slot.Load(); e != nil && e.text == text {
		return e, slot
	}
	return nil, slot
}

func (k *Texts) of(text string) *classifiedText {
	e, slot := k.find(text)
	if e != nil {
		return e
	}
	e = k.classify(text)
	switch {
	case len(text) <= classifiedMax:
		e.text = strings.Clone(text)
		slot.Store(e)
	case len(text) <= classifiedLong:
		e.text = text
		slot.Store(e)
	}
	return e
}

func (k *Texts) classify(text string) *classifiedText {
	e := &classifiedText{kind: sqlclass.Classify(k.Class, text), asks: sqlclass.AsksConnection(k.Class, text), state: sqlclass.StateOf(k.Class, text)}
	if e.kind != sqlclass.Read {
		e.unread = sqlclass.Unread(k.Class, text)
	}
	e.own = e.kind != sqlclass.Read && rights.Marked(text) && rights.OwnTables(k.Class, text, rights.Scope{Own: k.own})
	return e
}

// Kind is the kind alone: of a long text that is only asked for that, as most reads are, no more is worked out.
func (k *Texts) Kind(query string) sqlclass.Kind {
	if len(query) <= classifiedMax {
		return k.of(query).kind
	}
	if e, _ := k.find(query); e != nil {
		return e.kind
	}
	return sqlclass.Classify(k.Class, query)
}

// State returns what a statement does with the state of its connection.
func (k *Texts) State(query string) sqlclass.State { return k.of(query).state }

// Unread returns why nobody knows what a text runs; nil if that is known.
func (k *Texts) Unread(query string) error { return k.of(query).unread }

// AsksLast reports whether a statement that writes asks for the last change of its connection.
func (k *Texts) AsksLast(query string) bool {
	e := k.of(query)
	return e.asks && e.kind == sqlclass.Write
}

// IsRead reports whether any node may answer: it is plainly a read, and calls no function of the user's, which may write or take a
// lock, by itself or by a view.
func (k *Texts) IsRead(query string) bool {
	if k.Kind(query) != sqlclass.Read {
		return false
	}
	if k.node == nil {
		return true
	}
	cat := k.node.Tables.Load()
	if cat == nil || len(cat.Disguised)+len(cat.Writers) == 0 {
		return true
	}
	names := sqlclass.Names(k.Class, query)
	named := func(name string) bool { return names[strings.ToLower(name)] }
	return !slices.ContainsFunc(cat.Disguised, named) && !slices.ContainsFunc(cat.Writers, named)
}

// IsSchema reports whether a statement changes the schema.
func (k *Texts) IsSchema(query string) bool { return k.Kind(query) == sqlclass.Schema }

// Temporary reports whether a schema statement is about a temporary object.
func (k *Texts) Temporary(query string) bool { return sqlclass.Temporary(k.Class, query) }

// Blank reports whether a text holds nothing to run, for which the driver of SQLite has no result: one that panics when
// it is asked. MariaDB has an error for it.
func (k *Texts) Blank(query string) bool {
	return k.Class == sqlclass.SQLite && sqlclass.Blank(k.Class, query)
}

// Leaves reports whether a text may leave its connection other than it was.
func (k *Texts) Leaves(query string) bool {
	return k.State(query)&(sqlclass.Sets|sqlclass.Assigns|sqlclass.Hides|sqlclass.Spans) != 0
}

// HidesSchema reports whether one of several statements in a text changes the schema.
func (k *Texts) HidesSchema(text string) bool {
	return k.Kind(text) == sqlclass.Write && k.anyOf(text, func(s sqlclass.Statement) bool {
		return s.Kind == sqlclass.Schema && !sqlclass.Temporary(k.Class, s.SQL)
	})
}

// SpansTx reports whether one of several statements in a text begins, marks or ends a transaction.
func (k *Texts) SpansTx(text string) bool {
	return k.anyOf(text, func(s sqlclass.Statement) bool { return s.Kind == sqlclass.TxControl })
}

// EndsTx reports whether a text ends the transaction that it is run in.
func (k *Texts) EndsTx(text string) bool {
	if kind := k.Kind(text); kind != sqlclass.TxControl && !strings.Contains(text, ";") {
		return false
	}
	list, _ := sqlclass.Split(k.Class, text)
	for _, s := range list {
		words := strings.Fields(strings.ToUpper(s.SQL))
		if s.Kind == sqlclass.TxControl && (words[0] == "COMMIT" || words[0] == "END" || words[0] == "ROLLBACK" && !slices.Contains(words, "TO")) {
			return true
		}
	}
	return false
}

// anyOf reports whether f is true of one of several statements in a text.
func (k *Texts) anyOf(text string, f func(sqlclass.Statement) bool) bool {
	if !strings.Contains(text, ";") {
		return false
	}
	list, _ := sqlclass.Split(k.Class, text)
	return slices.ContainsFunc(list, f)
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
	if k.node == nil || len(query) > classifiedMax {
		return rights.Needs(k.Class, query, k.scope())
	}
	e := k.of(query)
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

// RefuseOwn refuses, with ErrNotAllowed, what names ddb's own tables and is no plain read: the nodes would differ for ever.
func (k *Texts) RefuseOwn(query string) error {
	if k.node == nil {
		return nil
	}
	var views []string
	if cat := k.node.Tables.Load(); cat != nil {
		views = cat.OverOwn
	}
	if len(views) == 0 && len(query) > classifiedMax && !rights.Marked(query) {
		return nil // it is not worth reading twice
	}
	e := k.of(query)
	own := e.own || len(views) > 0 && e.kind != sqlclass.Read && rights.OwnTables(k.Class, query, rights.Scope{Own: k.own, OwnViews: views})
	if !own || k.settles(query) {
		return nil
	}
	return fmt.Errorf("%w: the statement %s: %s", fault.ErrNotAllowed, rights.OwnReason, sqlclass.Brief(query))
}

// settles reports whether a statement is the one by which ddb itself marks a conflict as settled, which a
// replica sends to the master.
func (k *Texts) settles(query string) bool { return k.settling != "" && query == k.settling }
