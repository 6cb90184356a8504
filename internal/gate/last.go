package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"regexp"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
)

// lastWrite is what the last write on a routed connection came to. Writes run on whatever connection of the database is
// free, so that LAST_INSERT_ID() and its kin, asked later, would tell of somebody else's.
type lastWrite struct {
	any      bool
	id, rows int64
}

var (
	asksLast = regexp.MustCompile(`(?is)^\s*SELECT\s+((LAST_INSERT_ID|LAST_INSERT_ROWID|ROW_COUNT|CHANGES)\s*\(\s*\))(?:\s+(?:AS\s+)?(\w+))?\s*;?\s*$`)
	returns  = regexp.MustCompile(`(?i)\bRETURNING\b`)
)

// remember notes what a write outside of pinned connections came to.
func (rc *routedConn) remember(stmt *route.Statement, res driver.Result) {
	if res == nil || stmt.Kind != sqlclass.Write {
		return
	}
	rc.last.any = true
	rc.last.rows, _ = res.RowsAffected()
	// SQLite's driver tells the last key of the connection after any statement, MariaDB's none where none was handed out.
	if id, err := res.LastInsertId(); err == nil && id != 0 && (rc.gate.texts.Class == sqlclass.MySQL || stmt.HasInsert()) {
		rc.last.id = id
	}
}

// forget takes back what remember has noted, when a statement that changes it is run for its rows.
func (rc *routedConn) forget(stmt *route.Statement) {
	if rc.last.any && rc.gate.texts.Class == sqlclass.SQLite && stmt.Kind == sqlclass.Write && returns.MatchString(stmt.SQL) {
		rc.last = lastWrite{}
	}
}

// lastRow answers a query for nothing but the last key or the number of rows changed; nil for any other.
func (rc *routedConn) lastRow(stmt *route.Statement) driver.Rows {
	if len(stmt.SQL) > 100 || !rc.last.any {
		return nil
	}
	m := asksLast.FindStringSubmatch(stmt.SQL)
	if m == nil {
		return nil
	}
	name, value := m[1], rc.last.id
	if m[3] != "" {
		name = m[3]
	}
	switch strings.ToUpper(m[2]) {
	case "ROW_COUNT", "CHANGES":
		value = rc.last.rows
	}
	return &oneRow{name: name, value: value}
}

// seed makes LAST_INSERT_ID() on a connection that is being pinned what it would be had the writes before run there.
func (rc *routedConn) seed(ctx context.Context, conn *sql.Conn) error {
	setter, ok := rc.gate.dialect.(dialect.LastKeySetter)
	if !ok || rc.last.id == 0 {
		return nil
	}
	return setter.SetLastKey(ctx, conn, rc.last.id)
}

// refuseForeignLast refuses a statement on SQLite that would be told of another's last key: outside of transactions
// statements of many callers run on one connection.
func (g *Gate) refuseForeignLast(stmt *route.Statement) error {
	if !stmt.AsksLast() || strings.Contains(strings.TrimRight(stmt.SQL, "; \t\r\n"), ";") {
		return nil // several statements in one text run on one connection
	}
	return fmt.Errorf("%w: last_insert_rowid() and changes() tell of one connection, which statements outside of a transaction share: "+
		"use the Result's LastInsertId and RowsAffected, or a transaction: %s", fault.ErrNotReplicable, stmt)
}
