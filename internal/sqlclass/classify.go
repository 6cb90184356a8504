// Package sqlclass tells what an SQL statement is for, from its tokens alone:
// whether a replica may answer it, whether it changes the schema, where one
// statement ends and the next begins.
//
// It knows the lexical rules of SQLite and of MariaDB and MySQL, but no
// grammar. Where tokens do not settle the matter it errs towards [Write]: a
// read sent to the master costs a round trip, a write sent to a replica is
// wrong.
//
// How MySQL text is read depends on the session's sql_mode and on the server's
// version. A [Read] is one in every reading: with a backslash as an escape or
// as a character (NO_BACKSLASH_ESCAPES, ANSI_QUOTES), whether executable
// comments are run or not, and whether a space before "(" makes a call one of a
// stored function (IGNORE_SPACE). What ORACLE adds, blocks without NOT ATOMIC
// and s.nextval, is never a Read. Everything else is read as under the default
// sql_mode, and [StateOf] tells where another reading would be worse. Client
// character sets in which a byte of a character can be a backslash or a
// backtick (big5, gbk, sjis and their kin) are not known.
package sqlclass

import "github.com/ddb-project/ddb/dialect"

// Dialect is the language that a statement is written in.
type Dialect = dialect.Language

// The dialects.
const (
	SQLite = dialect.SQLite
	MySQL  = dialect.MySQL // MariaDB and MySQL
)

// Kind says what a statement is for. Only a [Read] may go to a replica.
type Kind int

const (
	// Read is plainly a read, which any replica may answer.
	Read Kind = iota
	// Write may change rows, depends on the writer's connection, or is not
	// plainly anything else. Several statements in one string are a Write too.
	Write
	// Schema is CREATE, ALTER, DROP, RENAME and MySQL's TRUNCATE of what belongs to a
	// database (see [ParseSchema]), and a PRAGMA that sets what is part of SQLite's
	// file: user_version and application_id.
	Schema
	// TxControl begins, ends or marks a transaction.
	TxControl
	// Session changes the state of the connection: SET, USE, PREPARE, ATTACH,
	// LOCK TABLES, HANDLER, a PRAGMA that sets anything else. See [StateOf].
	Session
	// Other is an empty statement, or administration that changes neither rows
	// nor schema and often refuses to run in a transaction: VACUUM, FLUSH, KILL,
	// GRANT, OPTIMIZE TABLE. CREATE USER and what else is a server's own counts too.
	Other
)

var kindNames = [...]string{"read", "write", "schema", "txcontrol", "session", "other"}

// String returns the name of the kind in lower case.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "invalid"
	}
	return kindNames[k]
}

// Classify returns the kind of the statement sql. It never fails: text that
// cannot be read as one statement is a [Write], so that the master gets to
// report the error. It does not allocate.
func Classify(d Dialect, sql string) Kind {
	lx := newLexer(d, sql)
	kind := classify(&lx)
	if kind != Read || d != MySQL || alwaysRead(sql) {
		return kind
	}
	return Write
}

// Blank reports whether the text holds no statement, as the dialect reads it: SQLite takes a comment that never ends for
// one that does, and a NUL byte for the end.
func Blank(d Dialect, sql string) bool {
	lx := newLexer(d, sql)
	t, paren := firstToken(&lx)
	unread := t.kind == tokBad && d == SQLite && (lx.badWhat == badNUL || lx.badWhat == "comment")
	return !paren && (t.kind == tokEOF || unread)
}

// Dynamic reports whether the statement runs what its text does not show: a prepared statement, or a compound one.
func Dynamic(d Dialect, sql string) bool {
	if d != MySQL {
		return false
	}
	lx := newLexer(d, sql)
	t, _ := firstToken(&lx)
	return lx.isWord(t, "EXECUTE") || lx.isWord(t, "PREPARE") || lx.compound(t)
}

// compound reports whether the statement that begins with t, behind which lx stands, is a compound one outside of a
// program, in the modes ORACLE (BEGIN without NOT ATOMIC, DECLARE, <<label>>) and default.
func (lx *lexer) compound(t token) bool {
	if t.is('<') {
		return true
	}
	next := lx.peek()
	if t.kind == tokWord || t.kind == tokIdent {
		if next.is(':') {
			return true // a label
		}
	}
	if t.kind != tokWord {
		return false
	}
	var buf foldBuf
	switch string(fold(&buf, lx.text(t))) {
	case "BEGIN":
		return next.kind != tokEOF && !next.is(';') && !lx.isWord(next, "WORK")
	case "DECLARE", "IF", "CASE", "LOOP", "REPEAT", "WHILE", "FOR":
		return true
	}
	return false
}

// AsksConnection reports whether an SQLite statement calls a function that tells of its connection's last change.
func AsksConnection(d Dialect, sql string) bool {
	if d != SQLite {
		return false
	}
	lx := newLexer(d, sql)
	for t := lx.next(); t.kind != tokEOF && t.kind != tokBad; {
		next := lx.next()
		if next.is('(') && (lx.isWord(t, "LAST_INSERT_ROWID") || lx.isWord(t, "CHANGES") || lx.isWord(t, "TOTAL_CHANGES")) {
			return true
		}
		t = next
	}
	return false
}

// firstToken skips semicolons and parentheses before a statement and returns
// its first token, and whether parentheses were opened.
func firstToken(lx *lexer) (t token, paren bool) {
	for t = lx.next(); t.is(';'); {
		t = lx.next()
	}
	return skipParens(lx, t)
}

// skipParens returns the first token from t on that opens no parenthesis.
func skipParens(lx *lexer, t token) (first token, paren bool) {
	for t.is('(') {
		t, paren = lx.next(), true
	}
	return t, paren
}

func classify(lx *lexer) Kind {
	first, paren := firstToken(lx)
	if first.kind == tokEOF {
		if paren {
			return Write
		}
		return Other
	}
	start := *lx
	kind := verbKind(lx, first, paren)
	if kind != Read && kind != Write && hasMore(&start, first) {
		return Write
	}
	return kind
}

// verbKind classifies by the first word. For a Read it has looked at the whole
// text; for other kinds the caller checks that nothing follows.
func verbKind(lx *lexer, first token, paren bool) Kind {
	if first.kind != tokWord {
		return Write
	}
	var buf foldBuf
	word := fold(&buf, lx.text(first))
	switch string(word) {
	case "SELECT", "WITH", "VALUES", "TABLE":
		return readUnless(scan(lx, first), anyFlag)
	}
	if paren {
		return Write
	}
	switch string(word) {
	case "CREATE", "ALTER":
		return schemaKind(*lx)
	case "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return TxControl
	case "EXPLAIN":
		return onlyStatement(lx, first, explainKind)
	}
	if lx.dialect == SQLite {
		return sqliteKind(lx, first, string(word))
	}
	return mysqlKind(lx, first, string(word))
}

func sqliteKind(lx *lexer, first token, word string) Kind {
	switch word {
	case "DROP":
		return Schema
	case "BEGIN", "END":
		return TxControl
	case "ATTACH", "DETACH":
		return Session
	case "VACUUM":
		return Other
	case "PRAGMA":
		return onlyStatement(lx, first, pragmaKind)
	}
	return Write
}

func mysqlKind(lx *lexer, first token, word string) Kind {
	switch word {
	case "DROP":
		if lx.isWord(lx.peek(), "PREPARE") {
			return Session
		}
		return schemaKind(*lx)
	case "TRUNCATE", "RENAME":
		return schemaKind(*lx)
	case "BEGIN":
		if t := lx.peek(); t.kind == tokEOF || t.is(';') || lx.isWord(t, "WORK") {
			return TxControl
		}
		return Write // a compound statement
	case "START":
		if lx.isWord(lx.peek(), "TRANSACTION") {
			return TxControl
		}
		return Other
	case "XA":
		return TxControl
	case "SET":
		return setKind(lx, first)
	case "USE", "PREPARE", "DEALLOCATE", "LOCK", "UNLOCK", "HANDLER":
		return Session
	case "SHOW":
		return showKind(lx, first)
	case "DESC", "DESCRIBE":
		return onlyStatement(lx, first, explainKind)
	case "HELP", "CHECKSUM":
		return readUnless(scan(lx, first), flagMulti|flagBad)
	case "ANALYZE":
		return analyzeKind(lx)
	case "GRANT", "REVOKE", "FLUSH", "RESET", "PURGE", "KILL", "SHUTDOWN", "RESTART", "INSTALL", "UNINSTALL", "STOP",
		"CHANGE", "OPTIMIZE", "REPAIR", "CHECK", "CACHE", "BACKUP":
		return Other
	}
	return Write
}

// schemaKind tells what belongs to a server, accounts and the like, from what belongs to a
// database. lx stands behind the verb.
func schemaKind(lx lexer) Kind {
	if lx.dialect != MySQL {
		return Schema
	}
	t := lx.next()
	if lx.isWord(t, "OR") { // REPLACE
		lx.next()
		t = lx.next()
	}
	for _, word := range [...]string{"USER", "ROLE", "SERVER", "INSTANCE", "TABLESPACE", "UNDO", "LOGFILE"} {
		if lx.isWord(t, word) {
			return Other
		}
	}
	return Schema
}

// analyzeKind tells ANALYZE TABLE from MariaDB's ANALYZE, which runs the
// statement that it explains.
func analyzeKind(lx *lexer) Kind {
	t := lx.next()
	if lx.isWord(t, "NO_WRITE_TO_BINLOG") || lx.isWord(t, "LOCAL") {
		t = lx.next()
	}
	if lx.isWord(t, "TABLE") || lx.isWord(t, "TABLES") {
		return Other
	}
	return Write
}

// setKind classifies SET and SET STATEMENT ... FOR statement.
func setKind(lx *lexer, first token) Kind {
	if !lx.isWord(lx.peek(), "STATEMENT") {
		// An assigned expression may call a function that writes.
		if scan(lx, first)&(flagMayWrite|flagMulti|flagBad) != 0 {
			return Write
		}
		return Session
	}
	settings := *lx
	if scan(&settings, first)&(flagMayWrite|flagBad) != 0 {
		return Write
	}
	if !skipSetStatement(lx) {
		return Write
	}
	inner, paren := skipParens(lx, lx.next())
	if lx.isWord(inner, "SET") {
		return Write
	}
	return verbKind(lx, inner, paren)
}

// skipSetStatement moves lx from SET past the FOR of SET STATEMENT ... FOR.
func skipSetStatement(lx *lexer) bool {
	for depth := 0; ; {
		switch t := lx.next(); {
		case t.is('('):
			depth++
		case t.is(')'):
			depth--
		case depth == 0 && lx.isWord(t, "FOR"):
			return true
		case t.kind == tokEOF || t.kind == tokBad || t.is(';'):
			return false
		}
	}
}

// showKind classifies SHOW. What describes the connection or a thread of one
// server is no plain read.
func showKind(lx *lexer, first token) Kind {
	t := lx.peek()
	if t.kind == tokWord {
		var buf foldBuf
		switch string(fold(&buf, lx.text(t))) {
		case "WARNINGS", "ERRORS", "COUNT", "PROFILE", "PROFILES", "SESSION", "LOCAL", "STATUS", "VARIABLES",
			"EXPLAIN", "ANALYZE":
			return Write
		}
	}
	return readUnless(scan(lx, first), flagMayWrite|flagMulti|flagBad)
}

// explainKind classifies EXPLAIN, DESCRIBE and DESC. at stands behind that word.
func explainKind(at lexer) Kind {
	lx := &at
	runs := false
	t, _ := skipParens(lx, lx.next())
	for t.kind == tokWord {
		var buf foldBuf
		switch string(fold(&buf, lx.text(t))) {
		case "ANALYZE":
			runs = true
		case "FORMAT":
			if lx.peek().is('=') {
				lx.next()
				lx.next()
			}
		case "EXTENDED", "PARTITIONS", "QUERY", "PLAN":
		case "FOR": // FOR CONNECTION: a thread of one server
			return Write
		case "SELECT", "WITH", "VALUES", "TABLE":
			if runs {
				return readUnless(scan(lx, t), anyFlag)
			}
			// The optimizer may evaluate a subquery, and so call a function.
			return readUnless(scan(lx, t), flagMayWrite|flagMulti|flagBad)
		default:
			if runs {
				return Write
			}
			return Read
		}
		t, _ = skipParens(lx, lx.next())
	}
	if runs {
		return Write
	}
	return Read
}

// pragmaKind classifies PRAGMA [schema.]name [= value | (value)].
func pragmaKind(lx lexer) Kind {
	name := lx.next()
	after := lx.next()
	main := true
	if after.is('.') {
		var buf foldBuf
		main = string(fold(&buf, inner(lx.text(name)))) == "MAIN"
		name, after = lx.next(), lx.next()
	}
	var buf foldBuf
	word := fold(&buf, inner(lx.text(name)))
	setting := after.is('=') || after.is('(')
	switch {
	case sqliteReadPragmas[string(word)]:
	case string(word) == "WAL_CHECKPOINT":
		return Other
	case string(word) == "OPTIMIZE" || string(word) == "INCREMENTAL_VACUUM" || string(word) == "DATA_VERSION":
		return Write
	case setting && main && (string(word) == "USER_VERSION" || string(word) == "APPLICATION_ID"):
		return Schema
	case setting || string(word) == "SHRINK_MEMORY":
		return Session
	}
	return Read
}

// onlyStatement returns what classify finds, or Write when the statement that
// begins with first is not the whole text. lx stands behind first.
func onlyStatement(lx *lexer, first token, classify func(lexer) Kind) Kind {
	if whole := *lx; hasMore(&whole, first) {
		return Write
	}
	return classify(*lx)
}

// hasMore reports whether anything follows the statement that begins with
// first, or whether its end cannot be found.
func hasMore(lx *lexer, first token) bool {
	ends := ender{dialect: lx.dialect}
	t := first
	for ; !ends.step(lx, t); t = lx.next() {
		switch t.kind {
		case tokEOF:
			return false
		case tokBad:
			return true
		}
	}
	for t.is(';') {
		t = lx.next()
	}
	return t.kind != tokEOF
}
