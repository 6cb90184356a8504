package route

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/rights"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Statement is a text of a program's and what it is. Whoever runs it carries it along, so that each question is put to the text once, when
// it is first asked, however often the text is run while it is kept. It does not change, and is safe for concurrent use.
type Statement struct {
	SQL   string
	Kind  sqlclass.Kind
	State sqlclass.State // what it does with the state of its connection
	// Blank: it holds nothing to run, for which the driver of SQLite has no result: one that panics when it is asked. MariaDB
	// has an error for it.
	Blank bool
	// Unread is why nobody knows what it runs; nil if that is known.
	Unread error

	texts  *Texts
	asks   bool                   // for the last change of its connection
	own    bool                   // it names ddb's own tables and is no plain read
	needed atomic.Pointer[needed] // what it was last found to need; see Texts.Needs

	schemaOnce sync.Once
	schema     sqlclass.SchemaInfo
	schemaErr  error

	partsOnce            sync.Once
	parts                []sqlclass.Statement
	partsErr             error
	hidesSchema, spansTx bool // one of several parts changes the schema for good, or begins, marks or ends a transaction

	insertOnce sync.Once
	hasInsert  bool
}

func (k *Texts) read(text string) *Statement {
	s := &Statement{SQL: text, texts: k, Kind: sqlclass.Classify(k.Class, text), State: sqlclass.StateOf(k.Class, text), asks: sqlclass.AsksConnection(k.Class, text)}
	s.Blank = k.Class == sqlclass.SQLite && sqlclass.Blank(k.Class, text)
	if s.Kind != sqlclass.Read {
		s.Unread = sqlclass.Unread(k.Class, text)
		s.own = rights.Marked(text) && rights.OwnTables(k.Class, text, rights.Scope{Own: k.own})
	}
	return s
}

// IsRead reports whether any node may answer: it is plainly a read, and calls no function of the user's, which may write or take a
// lock, by itself or by a view.
func (s *Statement) IsRead() bool { return s.Kind == sqlclass.Read && s.texts.plain(s.SQL) }

// IsSchema reports whether it changes the schema, be it that of one connection only.
func (s *Statement) IsSchema() bool { return s.Kind == sqlclass.Schema }

// Schema describes it as a schema statement. The error is that of [sqlclass.ParseSchema].
func (s *Statement) Schema() (sqlclass.SchemaInfo, error) {
	s.schemaOnce.Do(func() { s.schema, s.schemaErr = sqlclass.ParseSchema(s.texts.Class, s.SQL) })
	return s.schema, s.schemaErr
}

// Temporary reports whether it makes or changes an object that belongs to one connection.
func (s *Statement) Temporary() bool {
	info, err := s.Schema()
	return err == nil && info.Temporary
}

// ChangesSchema reports whether it changes the schema for good.
func (s *Statement) ChangesSchema() bool { return s.IsSchema() && !s.Temporary() }

// Leaves reports whether it may leave its connection other than it was.
func (s *Statement) Leaves() bool {
	return s.State&(sqlclass.Sets|sqlclass.Assigns|sqlclass.Hides|sqlclass.Spans) != 0
}

// Several reports whether the text may hold more than one statement: it has a semicolon.
func (s *Statement) Several() bool { return strings.Contains(s.SQL, ";") }

// Parts returns the statements that the text holds, or why it cannot be read as such.
func (s *Statement) Parts() ([]sqlclass.Statement, error) {
	s.partsOnce.Do(func() {
		s.parts, s.partsErr = sqlclass.Split(s.texts.Class, s.SQL)
		for _, p := range s.parts {
			s.hidesSchema = s.hidesSchema || p.Kind == sqlclass.Schema && !sqlclass.Temporary(s.texts.Class, p.SQL)
			s.spansTx = s.spansTx || p.Kind == sqlclass.TxControl
		}
	})
	return s.parts, s.partsErr
}

// HidesSchema reports whether one of several statements changes the schema for good.
func (s *Statement) HidesSchema() bool {
	if s.Kind != sqlclass.Write || !s.Several() {
		return false
	}
	s.Parts()
	return s.hidesSchema
}

// SpansTx reports whether one of several statements begins, marks or ends a transaction.
func (s *Statement) SpansTx() bool {
	if !s.Several() {
		return false
	}
	s.Parts()
	return s.spansTx
}

// EndsTx reports whether it ends the transaction that it is run in.
func (s *Statement) EndsTx() bool {
	if s.Kind != sqlclass.TxControl && !s.Several() {
		return false
	}
	parts, _ := s.Parts()
	return slices.ContainsFunc(parts, func(p sqlclass.Statement) bool {
		words := strings.Fields(strings.ToUpper(p.SQL))
		return p.Kind == sqlclass.TxControl && (words[0] == "COMMIT" || words[0] == "END" || words[0] == "ROLLBACK" && !slices.Contains(words, "TO"))
	})
}

// HasInsert reports whether it is an INSERT of SQLite, or one of several statements is, or may be.
func (s *Statement) HasInsert() bool {
	s.insertOnce.Do(func() { s.hasInsert = sqlclass.HasInsert(s.SQL) })
	return s.hasInsert
}

// AsksLast reports whether it writes and asks for the last change of its connection.
func (s *Statement) AsksLast() bool { return s.asks && s.Kind == sqlclass.Write }

// Dynamic reports whether it runs what its text does not show: a prepared statement, or a compound one.
func (s *Statement) Dynamic() bool { return sqlclass.Dynamic(s.texts.Class, s.SQL) }

// String returns its beginning, without what nobody may read, for messages.
func (s *Statement) String() string { return sqlclass.Brief(s.SQL) }

// RefuseOwn refuses, with ErrNotAllowed, what names ddb's own tables and is no plain read: the nodes would differ for ever.
func (s *Statement) RefuseOwn() error {
	k := s.texts
	if k.node == nil {
		return nil
	}
	own := s.own
	if cat := k.node.Tables.Load(); cat != nil && len(cat.OverOwn) > 0 && s.Kind != sqlclass.Read {
		own = own || rights.OwnTables(k.Class, s.SQL, rights.Scope{Own: k.own, OwnViews: cat.OverOwn})
	}
	if !own || k.settles(s.SQL) {
		return nil
	}
	return fmt.Errorf("%w: the statement %s: %s", fault.ErrNotAllowed, rights.OwnReason, s)
}
