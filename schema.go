package ddb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// Schema statements are settled by comparison, never by trust in what was
// intended: the master records, in the transaction of the journal entry, the schema that its
// followers have been told of. What the database shows beyond that is shipped:
// as the statement that made it when ddb ran it and it means the same everywhere, else as the whole
// table, definition and rows in one entry. So a crash between a statement and its entry, an ALTER by
// another client and a table that existed before ddb all end the same way.

// schemaRecord is the schema as followers know it.
type schemaRecord struct {
	Tables  map[string]string       `cbor:"1,keyasint"` // by tableName: fingerprint
	Objects map[string]objectRecord `cbor:"2,keyasint"` // by kind and name: everything but tables
	LSN     LSN                     `cbor:"3,keyasint"` // last entry with a schema statement
}

type objectRecord struct {
	Kind, Database, Name, Hash string
}

func (o objectRecord) key() string { return o.Kind + " " + tableName{o.Database, o.Name}.String() }

// schemaState is the schema as the database shows it.
type schemaState struct {
	node    *node
	cat     *catalogue
	objects []dialect.Object
	kept    []string // names of what followers do not get
}

func (n *node) schemaState(ctx context.Context, q dialect.Querier) (*schemaState, error) {
	cat, err := n.loadTables(ctx, q)
	if err != nil {
		return nil, err
	}
	objects, err := n.engine.Objects(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("ddb: node %s: read schema: %w", n.opts.ID, err)
	}
	st := &schemaState{node: n, cat: cat}
	st.objects, st.kept = n.shippable(cat, objects)
	return st, nil
}

func (s *schemaState) record(lsn LSN) schemaRecord {
	r := schemaRecord{Tables: make(map[string]string), Objects: make(map[string]objectRecord), LSN: lsn}
	for _, t := range s.cat.replicated() {
		if !t.Own {
			r.Tables[s.node.name(t).String()] = identity(t)
		}
	}
	for _, o := range s.objects {
		if !partOfTable(o) {
			h := sha256.Sum256([]byte(o.SQL))
			r.Objects[objectKey(o)] = objectRecord{o.Kind, o.Database, o.Name, hex.EncodeToString(h[:8])}
		}
	}
	return r
}

// identity changes with a table's definition, and when other rows have come into it unseen.
func identity(t *dialect.Table) string {
	if t.Incarnation == "" {
		return t.Fingerprint
	}
	return t.Fingerprint + " " + t.Incarnation
}

func partOfTable(o dialect.Object) bool { return o.Kind == "table" || o.Kind == "index" }

func objectKey(o dialect.Object) string {
	return objectRecord{Kind: o.Kind, Database: o.Database, Name: o.Name}.key()
}

// quoteName quotes an identifier in the way that both MariaDB and SQLite read.
func quoteName(database, name string) string {
	q := "`" + strings.ReplaceAll(name, "`", "``") + "`"
	if database != "" {
		q = "`" + strings.ReplaceAll(database, "`", "``") + "`." + q
	}
	return q
}

// difference is what must be shipped to bring followers from a record to a state.
type difference struct {
	statements []dialect.Statement
	rebuild    []*dialect.Table
}

// compare finds the difference. Hints, if there are any, made the change and mean the
// same everywhere, so they are shipped themselves.
func compare(rec schemaRecord, st *schemaState, hints []dialect.Statement) difference {
	var d difference
	now := st.record(0)
	var changed []*dialect.Table
	for _, t := range st.cat.replicated() {
		name := st.node.name(t).String()
		if !t.Own && (rec.Tables[name] != now.Tables[name] || t.Bare) {
			changed = append(changed, t)
		}
	}
	if len(hints) > 0 {
		d.statements = append(slices.Clone(hints), inPassing(rec, now, st, hints)...)
		return d
	}
	for _, o := range rec.Objects {
		if n, ok := now.Objects[o.key()]; ok && (n.Hash == o.Hash || o.Kind == "database") || now.without(o.Database) {
			continue
		}
		d.statements = append(d.statements, dropStatement(o.Kind, o.Database, o.Name))
	}
	for name := range rec.Tables {
		if _, ok := now.Tables[name]; !ok {
			database, table, found := strings.Cut(name, ".")
			if !found || !st.hasDatabases() {
				database, table = "", name
			}
			if !now.without(database) {
				d.statements = append(d.statements, dropStatement("table", database, table))
			}
		}
	}
	for _, t := range changed {
		d.statements = append(d.statements, dropStatement("table", st.node.logical(t.Database), t.Name))
	}
	views := make(map[tableName]bool) // those made anew
	for _, o := range st.objects {
		was, known := rec.Objects[objectKey(o)]
		same := known && was.Hash == now.Objects[objectKey(o)].Hash
		// What is on a table or a view went with it.
		anew := slices.ContainsFunc(changed, func(t *dialect.Table) bool { return st.belongs(o, t) }) || views[tableName{o.Database, o.Table}]
		if !anew && (same || partOfTable(o)) {
			continue
		}
		if o.Kind == "view" {
			views[tableName{o.Database, o.Name}] = true
		}
		d.statements = append(d.statements, dialect.Statement{SQL: o.SQL, Database: o.Database})
	}
	d.rebuild = changed
	return d
}

// inPassing lists what followers must be told besides the hints because of what those did to triggers in passing: DROP TABLE
// takes them along, and RENAME rewrites them. A replica cannot see that, as it keeps them back; see applier.runSchema.
func inPassing(rec, now schemaRecord, st *schemaState, hints []dialect.Statement) (list []dialect.Statement) {
	for _, o := range rec.Objects {
		if n, ok := now.Objects[o.key()]; o.Kind != "trigger" || ok && n.Hash == o.Hash || now.without(o.Database) || names(hints, o, st) {
			continue
		}
		list = append(list, dropStatement(o.Kind, o.Database, o.Name))
		for _, object := range st.objects {
			if objectKey(object) == o.key() {
				list = append(list, dialect.Statement{SQL: object.SQL, Database: object.Database})
			}
		}
	}
	return list
}

// names reports whether a hint is about the trigger itself.
func names(hints []dialect.Statement, o objectRecord, st *schemaState) bool {
	return slices.ContainsFunc(hints, func(s dialect.Statement) bool {
		info, err := sqlclass.ParseSchema(classOf(st.node.dialect.Name()), s.SQL)
		return err == nil && info.Object == "TRIGGER" && info.Name == o.Name
	})
}

// dropStatement drops an object of a database, as entries name it.
func dropStatement(kind, database, name string) dialect.Statement {
	switch kind {
	case "database":
		database = ""
	case "pragma":
		return dialect.Statement{SQL: "PRAGMA " + name + " = 0"}
	}
	return dialect.Statement{Database: database, SQL: "DROP " + strings.ToUpper(kind) + " IF EXISTS " + quoteName("", name)}
}

// without reports whether a database of that name was dropped: what was in it is gone with it, and a statement about it
// would run in another database.
func (r schemaRecord) without(database string) bool {
	_, there := r.Objects[objectRecord{Kind: "database", Name: database}.key()]
	return database != "" && !there
}

func (s *schemaState) hasDatabases() bool {
	return slices.ContainsFunc(s.cat.list, func(t *dialect.Table) bool { return t.Database != "" }) ||
		slices.ContainsFunc(s.objects, func(o dialect.Object) bool { return o.Database != "" })
}

// belongs reports whether the object makes the table, or an index or a trigger on it.
func (s *schemaState) belongs(o dialect.Object, t *dialect.Table) bool {
	if o.Database != s.node.logical(t.Database) {
		return false
	}
	if o.Kind == "table" {
		return o.Name == t.Name
	}
	return o.Table == t.Name
}

// reconcile ships what the database's schema shows beyond the record. The caller is inside exclusive.
func (s *sequencer) reconcile(ctx context.Context, c *sql.Conn) error {
	s.log.Info("the schema has changed outside ddb; followers are brought level", "lsn", s.state.load().pos.LSN)
	return s.changeSchema(ctx, c, c, false)
}

// changeSchema runs schema statements on the connection on, if there are any, and ships what has changed as an entry of
// its own. mixed is settleSchema's. The caller is inside exclusive.
func (s *sequencer) changeSchema(ctx context.Context, c, on *sql.Conn, mixed bool, statements ...dialect.Statement) error {
	var done *passResult
	covered := s.written.Load()
	run := func() error {
		for i := range statements {
			if err := s.node.run(ctx, on, &statements[i]); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	if s.engine.Transactional() {
		err = s.txOn(ctx, c, dialect.Write, func() error {
			if err := run(); err != nil {
				return err
			}
			done, err = s.settleSchema(ctx, c, statements, mixed)
			return err
		})
	} else if err = run(); err == nil {
		done, err = s.settleSchema(ctx, c, statements, mixed)
	}
	if err != nil {
		if _, e := s.loadTables(context.WithoutCancel(ctx), s.db); e != nil {
			err = errors.Join(err, e)
		}
		s.unsettle()
		return err
	}
	s.publish(done, covered)
	return nil
}

// unsettle makes the next pass compare the schema with the record, whatever has been read of it
// meanwhile: a change that is in the database, but neither captured nor shipped, must not pass for known.
func (s *sequencer) unsettle() {
	s.looked = time.Time{}
	unknown := *s.tables.Load()
	unknown.version = ""
	s.tables.Store(&unknown)
}

// settleSchema installs the capture for what the schema has become, and appends the
// entry that tells followers. mixed says that followers may not run the statements themselves, so that changed
// tables are shipped whole: the transaction changed rows as well, whose notes a changed table may have lost, or
// the statements name tables that only the program's session has.
func (s *sequencer) settleSchema(ctx context.Context, c *sql.Conn, statements []dialect.Statement, mixed bool) (done *passResult, err error) {
	before := s.tables.Load()
	st, err := s.schemaState(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.refuse(ctx, c, before, st, statements); err != nil {
		return nil, err
	}
	if err := s.engine.InstallCapture(ctx, c, st.cat.replicated(), dialect.Keys); err != nil {
		return nil, fmt.Errorf("ddb: capture: %w", err)
	}
	if err := s.installKeys(ctx, c, st.cat.replicated()); err != nil {
		return nil, err
	}
	// Triggers count in the version of some schemas, so it is read again.
	if st.cat.version, err = s.engine.Version(ctx, c); err != nil {
		return nil, fmt.Errorf("ddb: schema version: %w", err)
	}
	s.tables.Store(st.cat)
	rec, _, err := metaValue[schemaRecord](ctx, s.node, c, metaSchema)
	if err != nil {
		return nil, err
	}
	hints := slices.Clone(statements)
	for i := range hints {
		hints[i].Database = s.logical(hints[i].Database)
	}
	if mixed || !s.repeatable(before, st.cat, statements) || concernsKept(before, st, rec, statements) {
		hints = nil
	}
	if len(hints) > 0 {
		// Rows may have come between a table and its triggers.
		for _, t := range st.cat.replicated() {
			if before.byName[s.name(t)] == nil || s.renames(statements, t) {
				if err := s.engine.Touch(ctx, c, t, nil); err != nil {
					return nil, fmt.Errorf("ddb: touch table %s: %w", t.Name, err)
				}
			}
		}
	}
	if s.engine.Transactional() {
		return s.shipSchema(ctx, c, rec, st, hints)
	}
	err = s.txOn(ctx, c, dialect.Pass, func() error {
		done, err = s.shipSchema(ctx, c, rec, st, hints)
		return err
	})
	return done, err
}

// repeatable reports whether followers may run the statements themselves.
func (s *sequencer) repeatable(before, after *catalogue, statements []dialect.Statement) bool {
	for _, st := range statements {
		if !portable(s.dialect.Name(), st.SQL) {
			return false
		}
	}
	for _, t := range after.replicated() {
		was := before.byName[s.name(t)]
		if was != nil && (was.Refusal != "" || !slices.Equal(keyNames(was), keyNames(t))) {
			return false // rows are named by other keys now, or were never shipped
		}
		if zoned(statements, was, t) {
			return false
		}
	}
	return len(statements) > 0
}

// renames reports whether a statement moved the table to its name. Its triggers moved along, and what they
// noted until they were made anew stands under another table's name.
func (s *sequencer) renames(statements []dialect.Statement, t *dialect.Table) bool {
	for _, st := range statements {
		info, err := sqlclass.ParseSchema(classOf(s.dialect.Name()), st.SQL)
		if err != nil || s.engine.Transactional() || info.Object != "TABLE" || info.Verb != "RENAME" && info.Verb != "ALTER" {
			continue
		}
		if slices.ContainsFunc(info.More, func(n sqlclass.Name) bool { return strings.EqualFold(n.Name, t.Name) }) {
			return true
		}
	}
	return false
}

func keyNames(t *dialect.Table) []string {
	var names []string
	for _, k := range t.Key {
		names = append(names, t.Stored[k])
	}
	return names
}

// shipSchema appends the entry and the new record, in the transaction that c is in.
func (s *sequencer) shipSchema(ctx context.Context, c *sql.Conn, rec schemaRecord, st *schemaState, hints []dialect.Statement) (*passResult, error) {
	d := compare(rec, st, hints)
	res, err := s.collect(ctx, c, &extra{schema: d.statements, rebuild: d.rebuild})
	if err != nil {
		return nil, err
	}
	lsn := rec.LSN
	if len(d.statements) > 0 {
		lsn = res.pos.LSN
	}
	return res, s.setMetaValue(ctx, c, metaSchema, st.record(lsn))
}

// settleTx is settleSchema for a transaction of the program's own that has run schema
// statements, before its commit; what it returns is called after.
func (m *master) settleTx(ctx context.Context, c *sql.Conn, statements []dialect.Statement) (func() Position, error) {
	covered := m.written.Load()
	res, err := m.settleSchema(ctx, c, statements, true)
	if err != nil {
		m.unsettle()
		return nil, err
	}
	m.writer.forgetStatements()
	return func() Position {
		m.publish(res, covered)
		return m.state.load().pos
	}, nil
}

// portable reports whether a schema statement means the same on a follower. Those that
// fill rows from a query, or with values that differ from run to run, do not.
func portable(dialectName, query string) bool {
	info, err := sqlclass.ParseSchema(classOf(dialectName), query)
	if err != nil || info.Temporary {
		return false
	}
	switch {
	case stays(info.Object):
		return false
	case info.AsSelect && info.Object == "TABLE":
		return false
	case info.Object == "DATABASE" && info.IfNotExists:
		return false // it may have been there, with tables in it
	case info.Nondeterministic && info.Verb == "ALTER" && info.Object == "TABLE":
		return false
	}
	return true
}

func classOf(dialectName string) sqlclass.Dialect {
	if dialectName == "sqlite" {
		return sqlclass.SQLite
	}
	return sqlclass.MySQL
}
