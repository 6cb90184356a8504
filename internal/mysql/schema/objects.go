package schema

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/capture"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// Schema lists and runs the statements that make a schema.
type Schema struct {
	server   *server.Server
	sessions *sessions.Sessions
	current  *catalog.Current
}

// New returns the schema of the databases of s.
func New(s *server.Server, on *sessions.Sessions, tables *catalog.Current) *Schema {
	return &Schema{server: s, sessions: on, current: tables}
}

// Objects lists databases, tables with parents first, routines, views that need
// others after them but none whose tables are gone, and the user's triggers without guards. Where the meaning of a
// statement depends on a sql_mode or a character set, it starts with a comment that
// Run reads; see withSurroundings.
func (m *Schema) Objects(ctx context.Context, q dialect.Querier) ([]dialect.Object, error) {
	return m.list(ctx, q, (*objects).addDatabases, (*objects).addTables, (*objects).addRoutines, (*objects).addViews, (*objects).addTriggers)
}

// OtherObjects is Objects without tables.
func (m *Schema) OtherObjects(ctx context.Context, q dialect.Querier) ([]dialect.Object, error) {
	return m.list(ctx, q, (*objects).addDatabases, (*objects).addRoutines, (*objects).addViews, (*objects).addTriggers)
}

// Definitions is Objects for these tables alone, but those that are gone.
func (m *Schema) Definitions(ctx context.Context, q dialect.Querier, tables []*dialect.Table) ([]dialect.Object, error) {
	if len(tables) == 0 {
		return nil, nil
	}
	return m.list(ctx, q, func(o *objects, ctx context.Context) error {
		for _, t := range tables {
			if err := o.addTable(ctx, t); err != nil && lang.Errno(err) != lang.ErNoSuchTable {
				return err
			}
		}
		return nil
	})
}

// list lists what the steps add.
func (m *Schema) list(ctx context.Context, q dialect.Querier, steps ...func(*objects, context.Context) error) (list []dialect.Object, err error) {
	err = m.sessions.Neutral(ctx, q, func(q dialect.Querier) error {
		was, err := lang.Texts(ctx, q, "SELECT DATABASE()")
		if err != nil {
			return err
		}
		defer func() {
			if was[0][0].Valid {
				lang.Exec(context.WithoutCancel(ctx), q, "USE "+lang.Ident(was[0][0].String))
			}
		}()
		o := objects{of: m, q: q}
		for _, step := range steps {
			if err := step(&o, ctx); err != nil {
				return err
			}
		}
		list = o.list
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", lang.Wrap(err))
	}
	return list, nil
}

type objects struct {
	of   *Schema
	q    dialect.Querier
	list []dialect.Object
}

// show runs SHOW CREATE and returns its row by column name.
func (o *objects) show(ctx context.Context, what, name string) (map[string]string, error) {
	rows, err := o.q.QueryContext(ctx, "SHOW CREATE "+what+" "+name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	row := make([]sql.NullString, len(names))
	dest := make([]any, len(names))
	for i := range row {
		dest[i] = &row[i]
	}
	if !rows.Next() {
		return nil, fmt.Errorf("SHOW CREATE %s %s: nothing (%v)", what, name, rows.Err())
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	m := map[string]string{}
	for i, n := range names {
		m[strings.ToLower(n)] = row[i].String
	}
	return m, rows.Close()
}

func (o *objects) add(kind, db, name, statement string) {
	o.list = append(o.list, dialect.Object{Kind: kind, Database: db, Name: name, SQL: statement})
}

func (o *objects) addDatabases(ctx context.Context) error {
	for _, db := range o.of.server.Databases() {
		row, err := o.show(ctx, "DATABASE IF NOT EXISTS", lang.Ident(db))
		if lang.Errno(err) == lang.ErBadDB {
			continue
		}
		if err != nil {
			return err
		}
		o.add("database", db, db, row["create database"])
	}
	return nil
}

func (o *objects) addTables(ctx context.Context) error {
	c, err := o.of.current.Read(ctx, o.q)
	if err != nil {
		return err
	}
	for _, t := range c.List() {
		if t.Own {
			continue
		}
		if err := o.addTable(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (o *objects) addTable(ctx context.Context, t *dialect.Table) error {
	row, err := o.show(ctx, "TABLE", lang.Qualified(t.Database, t.Name))
	if err == nil {
		o.add("table", t.Database, t.Name, row["create table"])
	}
	return err
}

func (o *objects) addRoutines(ctx context.Context) error {
	for _, db := range o.of.server.Databases() {
		rows, err := lang.Texts(ctx, o.q, "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA="+lang.Text(db)+
			" AND ROUTINE_TYPE IN ('FUNCTION', 'PROCEDURE') ORDER BY ROUTINE_TYPE, ROUTINE_NAME")
		if err != nil {
			return err
		}
		for _, r := range rows {
			row, err := o.show(ctx, r[0].String, lang.Qualified(db, r[1].String))
			if err != nil {
				return err
			}
			body := row["create "+strings.ToLower(r[0].String)]
			if body == "" {
				return fmt.Errorf("the body of %s %s is hidden from this user: GRANT SELECT ON mysql.proc, or let its definer run ddb: %w",
					strings.ToLower(r[0].String), lang.Qualified(db, r[1].String), dialect.ErrPrivilege)
			}
			o.add(strings.ToLower(r[0].String), db, r[1].String, withSurroundings(row["sql_mode"], row["collation_connection"], body))
		}
	}
	return nil
}

// Views returns the definitions of the views by their names in lower case, those of the same name in several databases together.
// One that the server does not tell is empty.
func (m *Schema) Views(ctx context.Context, q dialect.Querier) (map[string]string, error) {
	views := make(map[string]string)
	for _, db := range m.server.Databases() {
		rows, err := lang.Texts(ctx, q, "SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA="+lang.Text(db))
		if err != nil {
			return nil, fmt.Errorf("list views: %w", lang.Wrap(err))
		}
		for _, r := range rows {
			name := strings.ToLower(r[0].String)
			if before, twice := views[name]; twice {
				r[1].String = before + " UNION " + r[1].String
			}
			views[name] = r[1].String
		}
	}
	return views, nil
}

type view struct {
	db, name, statement string
	done                bool
}

func (o *objects) addViews(ctx context.Context) error {
	var views []*view
	for _, db := range o.of.server.Databases() {
		rows, err := lang.Texts(ctx, o.q, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+lang.Text(db)+" AND TABLE_TYPE='VIEW' ORDER BY TABLE_NAME")
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			// The server leaves out the names of the current database.
			if err := lang.Exec(ctx, o.q, "USE "+lang.Ident(db)); err != nil {
				return err
			}
		}
		for _, r := range rows {
			// One that misses a table, a column or a function could not be made on another server. Its columns tell, without
			// its functions being called: a SELECT of no rows calls those that the optimizer takes for constants.
			if _, err := lang.Texts(ctx, o.q, "SHOW COLUMNS FROM "+lang.Qualified(db, r[0].String)); lang.Errno(err) == lang.ErViewInvalid {
				continue
			}
			row, err := o.show(ctx, "VIEW", lang.Qualified(db, r[0].String))
			if err != nil {
				return err
			}
			views = append(views, &view{db: db, name: r[0].String, statement: withSurroundings("", row["collation_connection"], row["create view"])})
		}
	}
	var visit func(v *view)
	visit = func(v *view) {
		if v.done {
			return
		}
		v.done = true
		for _, other := range views {
			// The server writes names in a view's text in full, unless it is of its own database.
			if strings.Contains(v.statement, lang.Ident(other.name)) {
				visit(other)
			}
		}
		o.add("view", v.db, v.name, v.statement)
	}
	for _, v := range views {
		visit(v)
	}
	return nil
}

func (o *objects) addTriggers(ctx context.Context) error {
	for _, db := range o.of.server.Databases() {
		triggers, err := catalog.TriggersOf(ctx, o.q, db)
		if err != nil {
			return err
		}
		for _, tr := range triggers {
			if tr.Own() {
				continue
			}
			tr.Body = capture.Unguard(tr.Body)
			statement := "CREATE " + tr.DefinerClause() + "TRIGGER " + lang.Ident(tr.Name) + " " + tr.Timing + " " + tr.Event +
				" ON " + lang.Ident(tr.Table) + " FOR EACH ROW " + tr.Body
			o.add("trigger", db, tr.Name, withSurroundings(tr.Mode, tr.Collation, statement))
			o.list[len(o.list)-1].Table = tr.Table
		}
	}
	return nil
}

// Functions lists the names of the stored functions.
func (m *Schema) Functions(ctx context.Context, q dialect.Querier) (names []string, err error) {
	for _, db := range m.server.Databases() {
		rows, err := lang.Texts(ctx, q, "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='FUNCTION' AND ROUTINE_SCHEMA="+lang.Text(db))
		if err != nil {
			return nil, fmt.Errorf("list functions: %w", lang.Wrap(err))
		}
		for _, r := range rows {
			names = append(names, r[0].String)
		}
	}
	return names, nil
}
