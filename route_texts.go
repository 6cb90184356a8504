package ddb

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

// texts tells what the texts of statements are on a node. It caches what it finds out: programs run few texts often.
type texts struct {
	class     sqlclass.Dialect
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
	asks  bool // for the last change of its connection; see refuseForeignLast
	state sqlclass.State
	own   bool // it names ddb's own tables and is no plain read; see refuseOwn

	unread error // why nobody knows what it runs; see refuseHidden

	needed atomic.Pointer[needed] // what it was last found to need; see needs
}

const (
	classifiedMax  = 4 << 10 // longer texts are not worth keeping for when they come again
	classifiedLong = 4 << 20 // nor these for the statement's own time
)

// newTexts returns what reads the statements of that class. On a node, databases are those that its options name beside its own, and
// settling the one statement on ddb's own tables that another node may send; n is nil where somebody else replicates.
func newTexts(class sqlclass.Dialect, n *store.Store, databases []string, settling string) *texts {
	k := &texts{class: class, node: n, databases: databases, settling: settling, seed: maphash.MakeSeed()}
	if n != nil && class == sqlclass.MySQL {
		k.own = n.Primary + "_ddb"
	}
	return k
}

// find returns what is kept of the text, nil if that is nothing, and where it is kept.
func (k *texts) find(text string) (*classifiedText, *atomic.Pointer[classifiedText]) {
	slot := &k.long
	if len(text) <= classifiedMax {
		slot = &k.slots[maphash.String(k.seed, text)%uint64(len(k.slots))]
	}
	if e := slot.Load(); e != nil && e.text == text {
		return e, slot
	}
	return nil, slot
}

func (k *texts) of(text string) *classifiedText {
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

func (k *texts) classify(text string) *classifiedText {
	e := &classifiedText{kind: sqlclass.Classify(k.class, text), asks: sqlclass.AsksConnection(k.class, text), state: sqlclass.StateOf(k.class, text)}
	if e.kind != sqlclass.Read {
		e.unread = sqlclass.Unread(k.class, text)
	}
	e.own = e.kind != sqlclass.Read && rights.Marked(text) && rights.OwnTables(k.class, text, rights.Scope{Own: k.own})
	return e
}

// kindOf is the kind alone: of a long text that is only asked for that, as most reads are, no more is worked out.
func (k *texts) kindOf(query string) sqlclass.Kind {
	if len(query) <= classifiedMax {
		return k.of(query).kind
	}
	if e, _ := k.find(query); e != nil {
		return e.kind
	}
	return sqlclass.Classify(k.class, query)
}

// stateOf returns what a statement does with the state of its connection.
func (k *texts) stateOf(query string) sqlclass.State { return k.of(query).state }

// unread returns why nobody knows what a text runs; nil if that is known.
func (k *texts) unread(query string) error { return k.of(query).unread }

// asksLast reports whether a statement that writes asks for the last change of its connection.
func (k *texts) asksLast(query string) bool {
	e := k.of(query)
	return e.asks && e.kind == sqlclass.Write
}

// isRead reports whether any node may answer: it is plainly a read, and calls no function of the user's, which may write or take a
// lock, by itself or by a view.
func (k *texts) isRead(query string) bool {
	if k.kindOf(query) != sqlclass.Read {
		return false
	}
	if k.node == nil {
		return true
	}
	cat := k.node.Tables.Load()
	if cat == nil || len(cat.Disguised)+len(cat.Writers) == 0 {
		return true
	}
	names := sqlclass.Names(k.class, query)
	named := func(name string) bool { return names[strings.ToLower(name)] }
	return !slices.ContainsFunc(cat.Disguised, named) && !slices.ContainsFunc(cat.Writers, named)
}

// isSchema reports whether a statement changes the schema.
func (k *texts) isSchema(query string) bool { return k.kindOf(query) == sqlclass.Schema }

// temporary reports whether a schema statement is about a temporary object.
func (k *texts) temporary(query string) bool { return sqlclass.Temporary(k.class, query) }

// blank reports whether a text holds nothing to run, for which the driver of SQLite has no result: one that panics when
// it is asked. MariaDB has an error for it.
func (k *texts) blank(query string) bool {
	return k.class == sqlclass.SQLite && sqlclass.Blank(k.class, query)
}

// leaves reports whether a text may leave its connection other than it was.
func (k *texts) leaves(query string) bool {
	return k.stateOf(query)&(sqlclass.Sets|sqlclass.Assigns|sqlclass.Hides|sqlclass.Spans) != 0
}

// hidesSchema reports whether one of several statements in a text changes the schema.
func (k *texts) hidesSchema(text string) bool {
	return k.kindOf(text) == sqlclass.Write && k.anyOf(text, func(s sqlclass.Statement) bool {
		return s.Kind == sqlclass.Schema && !sqlclass.Temporary(k.class, s.SQL)
	})
}

// spansTx reports whether one of several statements in a text begins, marks or ends a transaction.
func (k *texts) spansTx(text string) bool {
	return k.anyOf(text, func(s sqlclass.Statement) bool { return s.Kind == sqlclass.TxControl })
}

// endsTx reports whether a text ends the transaction that it is run in.
func (k *texts) endsTx(text string) bool {
	if kind := k.kindOf(text); kind != sqlclass.TxControl && !strings.Contains(text, ";") {
		return false
	}
	list, _ := sqlclass.Split(k.class, text)
	for _, s := range list {
		words := strings.Fields(strings.ToUpper(s.SQL))
		if s.Kind == sqlclass.TxControl && (words[0] == "COMMIT" || words[0] == "END" || words[0] == "ROLLBACK" && !slices.Contains(words, "TO")) {
			return true
		}
	}
	return false
}

// anyOf reports whether f is true of one of several statements in a text.
func (k *texts) anyOf(text string, f func(sqlclass.Statement) bool) bool {
	if !strings.Contains(text, ";") {
		return false
	}
	list, _ := sqlclass.Split(k.class, text)
	return slices.ContainsFunc(list, f)
}

// needed is what a text needs, given what names meant then.
type needed struct {
	cat    *store.Catalogue
	more   *[]string
	need   rights.Need
	reason string
}

// needs returns what right a statement needs, and why if that does not show, from the cache if names mean what they did.
func (k *texts) needs(query string) (need rights.Need, reason string) {
	if k.settles(query) {
		return rights.Change, ""
	}
	if k.node == nil || len(query) > classifiedMax {
		return rights.Needs(k.class, query, k.scope())
	}
	e := k.of(query)
	cat, more := k.node.Tables.Load(), k.node.More.Load()
	n := e.needed.Load()
	if n == nil || n.cat != cat || n.more != more {
		n = &needed{cat: cat, more: more}
		n.need, n.reason = rights.Needs(k.class, query, k.scope())
		e.needed.Store(n)
	}
	return n.need, n.reason
}

// scope returns what the names in a statement may mean on this node.
func (k *texts) scope() rights.Scope {
	n := k.node
	if n == nil {
		return rights.Scope{}
	}
	s := rights.Scope{Own: k.own}
	if k.class == sqlclass.MySQL {
		s.Databases = slices.Concat([]string{n.Primary}, k.databases, n.MoreDatabases())
	}
	if cat := n.Tables.Load(); cat != nil {
		s.Functions, s.Writers, s.OwnViews = cat.Functions, cat.Writers, cat.OverOwn
	}
	return s
}

// refuseOwn refuses, with ErrNotAllowed, what names ddb's own tables and is no plain read: the nodes would differ for ever.
func (k *texts) refuseOwn(query string) error {
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
	own := e.own || len(views) > 0 && e.kind != sqlclass.Read && rights.OwnTables(k.class, query, rights.Scope{Own: k.own, OwnViews: views})
	if !own || k.settles(query) {
		return nil
	}
	return fmt.Errorf("%w: the statement %s: %s", fault.ErrNotAllowed, rights.OwnReason, sqlclass.Brief(query))
}

// settles reports whether a statement is the one by which ddb itself marks a conflict as settled, which a
// replica sends to the master.
func (k *texts) settles(query string) bool { return k.settling != "" && query == k.settling }
