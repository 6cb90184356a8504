package schema

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// A table that cannot be replicated stays on the master, and so does a view that may read it, or that calls a stored
// function that may write, since to read such a view is to write: followers do not get them.
// So a read of such a table, whatever way it takes to it, fails on a follower for want of a table, and is then
// sent to the master; no node needs a list of these names.

// Shippable lists what followers get of the objects, with databases named as in entries: without what every node has by
// itself, and without what is kept on the master, whose names it returns too.
func Shippable(n *store.Store, cat *store.Catalogue, objects []dialect.Object) (list []dialect.Object, kept []string) {
	refused := make(map[journal.TableName]bool)
	for _, t := range cat.List {
		if t.Refusal != "" {
			refused[n.Name(t)] = true
			kept = append(kept, t.Name)
		}
	}
	kept, views := keptViews(objects, kept)
	for _, o := range objects {
		on := journal.TableName{Database: n.Logical(o.Database), Table: o.Name}
		if o.Kind == "index" || o.Kind == "trigger" {
			info, _ := sqlclass.ParseSchema(n.Dialect.Language(), o.SQL)
			on.Table = info.On.Name
		}
		switch {
		case o.Kind == "database" && o.Name == n.Primary:
			continue
		case o.Kind == "database":
			o.Database = ""
			list = append(list, o)
			continue
		case o.Kind != "function" && o.Kind != "procedure" && (among(n, refused, on) || among(n, views, journal.TableName{Database: o.Database, Table: on.Table})):
			continue
		}
		o.Database = n.Logical(o.Database)
		list = append(list, o)
	}
	return list, kept
}

// among reports whether a name is one of the set, as the database tells names apart that it writes itself.
func among(n *store.Store, set map[journal.TableName]bool, name journal.TableName) bool {
	if n.Dialect.Language() != dialect.SQLite {
		return set[name]
	}
	for has := range set {
		if strings.EqualFold(has.Table, name.Table) {
			return true
		}
	}
	return false
}

// mayWrite finds what a stored function may write with. REPLACE( and INSERT( are functions of text.
var mayWrite = regexp.MustCompile(`(?is)\b(?:(?:INSERT|UPDATE|DELETE|REPLACE)\b\s*[^(\s]|(?:CALL|NEXTVAL|SETVAL|NEXT\s+VALUE)\b)`)

// keptViews finds the views that mention one of names, a function that may write, or such a view, and adds their names.
func keptViews(objects []dialect.Object, names []string) ([]string, map[journal.TableName]bool) {
	views := make(map[journal.TableName]bool)
	for more := true; more; {
		more = false
		for _, o := range objects {
			if o.Kind == "function" && !slices.Contains(names, o.Name) && (mayWrite.MatchString(o.SQL) || mentions(o.SQL, names)) {
				names, more = append(names, o.Name), true
			}
		}
	}
	for more := len(names) > 0; more; {
		more = false
		for _, o := range objects {
			if name := (journal.TableName{Database: o.Database, Table: o.Name}); o.Kind == "view" && !views[name] && mentions(o.SQL, names) {
				views[name], more = true, true
				names = append(names, o.Name)
			}
		}
	}
	return names, views
}

// mentions reports whether a text may contain one of the names.
func mentions(text string, names []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(names, func(name string) bool {
		if strings.ContainsAny(name, "`\"]") {
			return true // it can be written in more ways than one
		}
		name = strings.ToLower(name)
		for at := 0; ; at++ {
			i := strings.Index(text[at:], name)
			if i < 0 {
				return false
			}
			at += i
			if !inName(text, at-1) && !inName(text, at+len(name)) {
				return true
			}
		}
	})
}

// inName reports whether the byte at i can be part of an unquoted name.
func inName(text string, i int) bool {
	if i < 0 || i >= len(text) {
		return false
	}
	c := text[i]
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
}

// ConcernsKept reports whether statements are about what is kept on the master, or have made a view one that is kept,
// or one that is not, in passing: followers cannot run them, and are told of what has changed instead.
func ConcernsKept(before *store.Catalogue, st *State, rec Record, statements []dialect.Statement) bool {
	names := slices.Clone(st.kept)
	for _, t := range before.List {
		if t.Refusal != "" {
			names = append(names, t.Name)
		}
	}
	var views []string // that the statements name
	for _, s := range statements {
		if mentions(s.SQL, names) {
			return true
		}
		info, err := sqlclass.ParseSchema(st.node.Dialect.Language(), s.SQL)
		if err != nil || info.Object != "VIEW" {
			continue
		}
		for _, n := range append(info.More, sqlclass.Name{Database: info.Database, Name: info.Name}) {
			views = append(views, n.Name)
			if n.Database == "" {
				n.Database = s.Database
			}
			_, known := rec.Objects[Object{Kind: "view", Database: st.node.Logical(n.Database), Name: n.Name}.key()]
			if info.Verb != "CREATE" && !known {
				return true
			}
		}
	}
	now := st.Record(0)
	came := func(from, to Record) bool {
		for key, o := range to.Objects {
			_, there := from.Objects[key]
			if o.Kind == "view" && !there && !now.without(o.Database) && !slices.Contains(views, o.Name) {
				return true
			}
		}
		return false
	}
	return came(rec, now) || came(now, rec)
}
