package sqlclass

import "strings"

// Name is the unquoted name of an object. Database is empty when the statement
// does not give it.
type Name struct {
	Database, Name string
}

// SchemaInfo describes a schema statement.
type SchemaInfo struct {
	Verb   string // CREATE, ALTER, DROP, TRUNCATE or RENAME
	Object string // TABLE, INDEX, VIEW, TRIGGER, DATABASE, PROCEDURE, FUNCTION, EVENT, SEQUENCE, USER, ROLE, ...

	Database, Name string // unquoted; for a DATABASE the name stands in both

	On   Name   // the table of an INDEX or TRIGGER, as far as the statement names it
	More []Name // further objects: of DROP a, b; of RENAME a TO b, c TO d all of b, c, d; of ALTER TABLE a RENAME b or EXCHANGE ... WITH TABLE b

	Temporary   bool
	Virtual     bool // SQLite's CREATE VIRTUAL TABLE
	OrReplace   bool
	IfExists    bool
	IfNotExists bool
	AsSelect    bool // CREATE TABLE ... SELECT
	// Nondeterministic says that the statement mentions a function whose value
	// differs between two runs or two servers, such as NOW() or UUID(), or a
	// MySQL variable. The body of a trigger or procedure counts.
	Nondeterministic bool
	// Additive says that an ALTER TABLE, or a statement on an INDEX, succeeds and does the same whatever rows the table holds.
	Additive bool
	// References says that an ALTER TABLE mentions another table that rows refer to.
	References bool
}

// ParseSchema describes the single schema statement sql. The error is an
// [*Error] that wraps [ErrNotSchema],
// [ErrUnterminated] or [ErrNUL].
func ParseSchema(d Dialect, sql string) (SchemaInfo, error) {
	var info SchemaInfo
	lx := newLexer(d, sql)
	t, _ := firstToken(&lx)
	start := t
	if d == MySQL && lx.isWord(t, "SET") && lx.isWord(lx.peek(), "STATEMENT") && skipSetStatement(&lx) {
		t = lx.next()
	}
	p := schemaParser{lx: lx, cur: t, info: &info}
	rest := lx
	ok := p.statement()
	if p.cur.kind == tokBad {
		return SchemaInfo{}, p.lx.failure()
	}
	if !ok {
		return SchemaInfo{}, &Error{Offset: start.start, What: "statement", Err: ErrNotSchema}
	}
	if bad := p.clauses(rest, t); bad != nil {
		return SchemaInfo{}, bad
	}
	if info.Object == "INDEX" {
		info.Additive = info.Verb == "DROP" || d == MySQL && !dependsOnRows(rest, t)
	}
	return info, nil
}

type schemaParser struct {
	lx   lexer
	cur  token
	info *SchemaInfo
}

func (p *schemaParser) advance() { p.cur = p.lx.next() }

// accept consumes the word if it comes next.
func (p *schemaParser) accept(word string) bool {
	if !p.lx.isWord(p.cur, word) {
		return false
	}
	p.advance()
	return true
}

// acceptAny consumes any of the words, given in one string.
func (p *schemaParser) acceptAny(words string) bool {
	for word := range strings.FieldsSeq(words) {
		if p.accept(word) {
			return true
		}
	}
	return false
}

func (p *schemaParser) statement() bool {
	switch {
	case p.accept("CREATE"):
		p.info.Verb = "CREATE"
	case p.accept("ALTER"):
		p.info.Verb = "ALTER"
	case p.accept("DROP"):
		p.info.Verb = "DROP"
	case p.lx.dialect == MySQL && p.accept("RENAME"):
		p.info.Verb = "RENAME"
	case p.lx.dialect == MySQL && p.accept("TRUNCATE"):
		p.info.Verb, p.info.Object = "TRUNCATE", "TABLE"
		p.accept("TABLE")
		p.mainName()
		return p.info.Name != ""
	default:
		return false
	}
	p.modifiers()
	if !p.object() {
		return false
	}
	p.conditions()
	p.names()
	return p.info.Name != "" || p.info.Object == "DATABASE" && p.info.Verb == "ALTER" ||
		p.info.Object == "INDEX" && p.info.Verb == "CREATE"
}

// modifiers consumes what may stand between the verb and the object.
func (p *schemaParser) modifiers() {
	for {
		switch {
		case p.accept("OR"):
			p.info.OrReplace = p.accept("REPLACE") || p.info.OrReplace
		case p.acceptAny("TEMP TEMPORARY"):
			p.info.Temporary = true
		case p.accept("VIRTUAL"):
			p.info.Virtual = true
		case p.acceptAny("UNIQUE FULLTEXT SPATIAL VECTOR ONLINE OFFLINE IGNORE AGGREGATE UNDO"):
		case p.accept("ALGORITHM"):
			p.advance() // =
			p.advance()
		case p.accept("DEFINER"):
			p.advance() // =
			p.account()
			if p.cur.is('(') { // CURRENT_USER()
				p.advance()
				p.advance()
			}
		case p.accept("SQL"): // SQL SECURITY DEFINER
			p.advance()
			p.advance()
		default:
			return
		}
	}
}

func (p *schemaParser) object() bool {
	if p.accept("TABLES") {
		p.info.Object = "TABLE"
		return true
	}
	for _, object := range [...]string{"TABLE", "INDEX", "VIEW", "TRIGGER", "DATABASE", "SCHEMA", "PROCEDURE",
		"FUNCTION", "EVENT", "SEQUENCE", "USER", "ROLE", "SERVER", "TABLESPACE", "LOGFILE", "PACKAGE", "INSTANCE"} {
		if !p.accept(object) {
			continue
		}
		p.info.Object = object
		switch object {
		case "SCHEMA":
			p.info.Object = "DATABASE"
		case "LOGFILE":
			p.accept("GROUP")
		case "PACKAGE":
			if p.accept("BODY") {
				p.info.Object = "PACKAGE BODY"
			}
		}
		return true
	}
	return false
}

// conditions consumes IF EXISTS and IF NOT EXISTS.
func (p *schemaParser) conditions() {
	if !p.lx.isWord(p.cur, "IF") {
		return
	}
	switch next := p.lx.peek(); {
	case p.lx.isWord(next, "EXISTS"):
		p.info.IfExists = true
	case p.lx.isWord(next, "NOT"):
		p.info.IfNotExists = true
		p.advance()
	default:
		return
	}
	p.advance()
	p.advance()
}

// names reads the names that follow the object.
func (p *schemaParser) names() {
	info := p.info
	switch {
	case info.Object == "DATABASE":
		if info.Verb == "ALTER" && p.isDatabaseOption() {
			return // it means the current database
		}
		p.mainName()
		info.Database = info.Name
		return
	case info.Object == "INDEX" && p.lx.isWord(p.cur, "ON"): // SQLite and MySQL both demand a name; be lenient
	default:
		p.mainName()
	}
	switch {
	case info.Verb == "DROP" || info.Verb == "RENAME":
		for p.nextName() {
			info.More = append(info.More, p.name())
		}
	case info.Verb == "ALTER":
		if info.Object == "TABLE" {
			info.Additive, info.References = additive(p.lx, p.cur), mentions(p.lx, p.cur, "REFERENCES")
		}
		if (info.Object == "TABLE" || info.Object == "EVENT") && p.renames() {
			info.More = append(info.More, p.name())
		}
	}
	p.on()
}

// isDatabaseOption reports whether ALTER DATABASE goes on without a name.
func (p *schemaParser) isDatabaseOption() bool {
	for word := range strings.FieldsSeq("DEFAULT CHARACTER CHARSET COLLATE COMMENT READ ENCRYPTION") {
		if p.lx.isWord(p.cur, word) {
			return true
		}
	}
	return p.cur.kind == tokEOF
}

// nextName consumes the separator before a further name.
func (p *schemaParser) nextName() bool {
	if p.info.Verb == "RENAME" {
		if p.accept("WAIT") {
			p.advance()
		}
		p.accept("NOWAIT")
		if p.accept("TO") {
			return true
		}
	}
	if !p.cur.is(',') {
		return false
	}
	p.advance()
	return true
}

// renames finds RENAME [TO | AS | =] name, but not that of a column, index or key, and WITH TABLE name.
func (p *schemaParser) renames() bool {
	depth := 0
	for ; p.cur.kind != tokEOF && p.cur.kind != tokBad; p.advance() {
		switch {
		case p.cur.is('('):
			depth++
		case p.cur.is(')'):
			depth--
		case p.info.Object == "EVENT" && p.lx.isWord(p.cur, "DO"):
			return false
		case depth == 0 && p.lx.dialect == MySQL && p.lx.isWord(p.cur, "WITH") && p.lx.isWord(p.lx.peek(), "TABLE"):
			p.advance()
			p.advance()
			return true
		case depth == 0 && p.lx.isWord(p.cur, "RENAME"):
			next := p.lx.peek()
			if p.lx.isWord(next, "COLUMN") || p.lx.isWord(next, "INDEX") || p.lx.isWord(next, "KEY") {
				continue
			}
			p.advance()
			if !p.acceptAny("TO AS") {
				if p.cur.is('=') {
					p.advance()
				} else if p.lx.dialect == SQLite || p.lx.isWord(p.lx.peek(), "TO") {
					return false // SQLite: RENAME column TO name
				}
			}
			return true
		}
	}
	return false
}

// on finds the table of an index or trigger.
func (p *schemaParser) on() {
	if p.info.Object != "INDEX" && p.info.Object != "TRIGGER" || p.info.Verb == "ALTER" {
		return
	}
	for p.cur.kind != tokEOF && p.cur.kind != tokBad && !p.lx.isWord(p.cur, "BEGIN") {
		if p.accept("ON") {
			p.info.On = p.name()
			if p.lx.dialect == SQLite && p.info.On.Database == "" {
				p.info.On.Database = p.info.Database
			}
			return
		}
		p.advance()
	}
}

func (p *schemaParser) mainName() {
	name := p.name()
	p.info.Database, p.info.Name = name.Database, name.Name
	if p.lx.dialect == SQLite && strings.EqualFold(name.Database, "temp") {
		p.info.Temporary = true
	}
}

// name reads [database .] name, or an account for users and roles.
func (p *schemaParser) name() Name {
	if p.info.Object == "USER" || p.info.Object == "ROLE" {
		return Name{Name: p.account()}
	}
	first := p.ident()
	if !p.cur.is('.') {
		return Name{Name: first}
	}
	p.advance()
	return Name{Database: first, Name: p.ident()}
}

func (p *schemaParser) ident() string {
	switch p.cur.kind {
	case tokWord, tokIdent, tokString, tokNumber:
		text := unquote(p.lx.text(p.cur))
		p.advance()
		return text
	}
	return ""
}

// account reads user[@host].
func (p *schemaParser) account() string {
	name := p.ident()
	if p.cur.kind != tokVar {
		return name
	}
	host := unquote(p.lx.text(p.cur)[1:])
	p.advance()
	if host == "" { // a space behind the @
		host = p.ident()
	}
	for p.cur.is('-') { // an unquoted host such as db-1
		p.advance()
		host += "-" + p.ident()
	}
	return name + "@" + host
}

// clauses reads the whole statement, whose first token is t, for what matters
// wherever it stands.
func (p *schemaParser) clauses(lx lexer, t token) error {
	table := p.info.Verb == "CREATE" && p.info.Object == "TABLE" && !p.info.Virtual
	ends := ender{dialect: lx.dialect}
	depth := 0
	dates, now := false, false
	definer := 0 // how many tokens of DEFINER = account remain
	var prev token
	for t.kind != tokEOF {
		ended := ends.step(&lx, t)
		next := lx.next()
		switch {
		case t.kind == tokBad:
			return lx.failure()
		case ended && next.kind != tokEOF && !next.is(';'):
			return &Error{Offset: next.start, What: "second statement", Err: ErrNotSchema}
		case t.is('('):
			depth++
		case t.is(')'):
			depth--
		case lx.isWord(t, "DEFINER") && next.is('='):
			definer = 3
		case definer > 0: // CURRENT_USER means nothing here
		case t.kind == tokSysVar, t.kind == tokVar && (t.start > prev.end || prev.kind == tokOp):
			p.info.Nondeterministic = true // and no host of an account
		case t.kind == tokString:
			now = now || strings.EqualFold(unquote(lx.text(t)), "now")
		case t.kind == tokWord && !prev.is('.'):
			if table && startsSelect(&lx, t, next, depth) {
				p.info.AsSelect = true
			}
			fixed, date := lx.volatile(prev, t, next)
			p.info.Nondeterministic = p.info.Nondeterministic || fixed
			dates = dates || date
		}
		definer = max(definer-1, 0)
		prev, t = t, next
	}
	if dates && now {
		p.info.Nondeterministic = true
	}
	return nil
}

// startsSelect reports whether the word t of CREATE TABLE begins its query.
func startsSelect(lx *lexer, t, next token, depth int) bool {
	switch {
	case lx.isWord(t, "SELECT"):
		return true
	case depth > 0:
		return false
	case lx.isWord(t, "AS"), lx.isWord(t, "VALUES"):
		return true
	}
	return lx.isWord(t, "WITH") && !lx.isWord(next, "SYSTEM")
}

// Temporary reports whether a schema statement is about a temporary object, which belongs to one connection.
func Temporary(d Dialect, query string) bool {
	info, err := ParseSchema(d, query)
	return err == nil && info.Temporary
}
