package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/codec"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/server"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// outboxColumns defines the outbox of a table. Its key columns have exactly the types
// of the table's key, so that equal means the same in both; all may be NULL, because
// no sql_mode can then refuse a note.
func outboxColumns(t *catalog.Table, images bool) string {
	cols := []string{"id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"}
	if images {
		cols = []string{"id BIGINT NOT NULL PRIMARY KEY", "conn BIGINT UNSIGNED NOT NULL", "tx BIGINT NOT NULL", "at DATETIME(6) NOT NULL", "existed TINYINT NOT NULL"}
	}
	for i, c := range t.KeyColumns() {
		cols = append(cols, fmt.Sprintf("k%d %s NULL DEFAULT NULL", i+1, declare(c, false)))
	}
	if images {
		for i, c := range t.StoredColumns {
			cols = append(cols, fmt.Sprintf("o%d %s NULL DEFAULT NULL", i+1, declare(c, true)))
		}
	}
	return strings.Join(cols, ", ")
}

// outboxPrint tells outboxes of different form apart; see outbox.
func outboxPrint(t *catalog.Table, images bool) string {
	if images {
		return "images:" + lang.Digest(outboxColumns(t, false)) + ":" + lang.Digest(outboxColumns(t, true))
	}
	return "keys:" + lang.Digest(outboxColumns(t, false))
}

// declare is the column's type in an outbox. Wide images are kept outside the row,
// since key and images together could exceed what a row can hold.
func declare(c codec.Column, wide bool) string {
	typ := c.Type
	if wide && c.IsList() {
		return "bigint unsigned" // a trigger would copy it by its text, which may be ambiguous
	}
	if wide && strings.HasPrefix(typ, "varchar") {
		typ = "longtext"
	}
	if wide && strings.HasPrefix(typ, "varbinary") {
		typ = "longblob"
	}
	if c.Charset != "" && c.Kind != codec.KindJSON {
		typ += " CHARACTER SET " + c.Charset + " COLLATE " + c.Collation
	}
	return typ
}

// captures reports whether all triggers that note the changes of a table are there, and on it.
func captures(o outbox, triggers map[string]catalog.Name) bool {
	for _, suffix := range noting {
		if triggers[catalog.OwnTriggerName(o.id, suffix)] != o.table {
			return false
		}
	}
	return true
}

// AddKey adds the columns k1, k2, ... of a table's outbox under an alias.
func AddKey(r *codec.Reader, t *catalog.Table, alias string) {
	r.AddColumns(alias, numbered("k", t.KeyColumns()))
}

// MatchKey joins an outbox's key with the table's.
func MatchKey(t *catalog.Table, alias, outbox string) string {
	parts := make([]string, len(t.Key))
	for i, c := range t.KeyColumns() {
		parts[i] = fmt.Sprintf("%s.%s=%s.k%d", alias, lang.Ident(c.Name), outbox, i+1)
	}
	return strings.Join(parts, " AND ")
}

// KeyNames are k1, k2, ... of an outbox.
func KeyNames(t *catalog.Table) string {
	names := make([]string, len(t.Key))
	for i := range names {
		names[i] = fmt.Sprintf("k%d", i+1)
	}
	return strings.Join(names, ",")
}

// Present tells whether an outer join found the row.
func Present(t *catalog.Table) string {
	return "t." + lang.Ident(t.KeyColumns()[0].Name) + " IS NOT NULL"
}

// Outboxes are the outboxes of a server's tables, and the triggers that fill them.
type Outboxes struct{ server *server.Server }

// NewOutboxes returns the outboxes in the own database of s.
func NewOutboxes(s *server.Server) Outboxes { return Outboxes{server: s} }

// Read reads the catalogue, and of each table which outbox it has and whether its changes are noted there.
func (o Outboxes) Read(ctx context.Context, q dialect.Querier, s *sessions.Sessions) (c *catalog.Catalog, err error) {
	var ids []outbox
	var triggers []catalog.Trigger
	err = s.Neutral(ctx, q, func(q dialect.Querier) error {
		if c, err = catalog.Read(ctx, q, o.server); err != nil {
			return err
		}
		if ids, err = o.captured(ctx, q); err == nil && len(ids) > 0 {
			triggers, err = catalog.Triggers(ctx, q, o.server)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", lang.Wrap(err))
	}
	on := make(map[string]catalog.Name)
	for _, tr := range triggers {
		if tr.Own() {
			on[tr.Name] = tr.On()
		}
	}
	for _, box := range ids {
		if t := c.Tables[box.table]; t != nil {
			t.ID, t.Bare = box.id, !captures(box, on)
		}
		c.Images = c.Images || box.images()
	}
	if err := o.uncascaded(c, triggers); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return c, nil
}

// outbox is a row of the table captured.
type outbox struct {
	id          int64
	table       catalog.Name
	fingerprint string // mode, hash of the key columns and, with images, of the rest
}

// key is the hash of the key columns.
func (o outbox) key() string {
	_, rest, _ := strings.Cut(o.fingerprint, ":")
	key, _, _ := strings.Cut(rest, ":")
	return key
}

func (o outbox) images() bool { return strings.HasPrefix(o.fingerprint, "images:") }

// captured lists the outboxes; none where ddb has no tables yet.
func (o Outboxes) captured(ctx context.Context, q dialect.Querier) ([]outbox, error) {
	rows, err := lang.Texts(ctx, q, "SELECT id, db, name, fingerprint FROM "+o.server.Own("captured")+" ORDER BY id")
	if n := lang.Errno(err); n == lang.ErNoSuchTable || n == lang.ErBadDB {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]outbox, len(rows))
	for i, r := range rows {
		list[i] = outbox{int64(lang.Atoi(r[0].String)), catalog.Name{DB: r[1].String, Name: r[2].String}, r[3].String}
	}
	return list, nil
}

// Name is the quoted name of an outbox.
func (o Outboxes) Name(id int64) string { return o.server.Own(fmt.Sprintf("out_%d", id)) }

// In the mode Images every note tells which transaction made it:
//
//	id    ascends over all outboxes, so that of two transactions of which one builds on
//	      the other, that other one's last note is the lower: it held its locks until then
//	conn  the connection
//	tx    what ddb has told the connection to write there; statementMark for a statement that is a
//	      transaction by itself; 0 in a transaction of a client that bypasses ddb
//	at    when the statement began
//
// Where one transaction of a client that bypasses ddb ends and its next begins is not told. Its statements are taken for one
// transaction, unless another one that came between them may build on the earlier ones: then those were committed.
const (
	noteID        = "UUID_SHORT() & 9223372036854775807"
	statementMark = -1
)

// originColumns are the columns that say where a note comes from, and whether the row existed.
const originColumns = "id,conn,tx,at,existed"

// origin are the values of originColumns but the last. MySQL has no variable that tells whether a transaction is
// open: there all that a connection does which bypasses ddb counts as one, collection for collection.
func (o Outboxes) origin() string {
	tx := "IFNULL(@ddb_tx, 0)"
	if o.server.MariaDB {
		tx = fmt.Sprintf("IF(@@in_transaction, GREATEST(IFNULL(@ddb_tx, 0), 0), %d)", statementMark)
	}
	return noteID + ",CONNECTION_ID()," + tx + ",NOW(6)"
}

// AddImages adds the columns o1, o2, ... of a table's outbox under an alias and returns where they begin.
func AddImages(r *codec.Reader, t *catalog.Table, alias string) int {
	return r.AddColumns(alias, numbered("o", t.StoredColumns))
}

// numbered returns the columns as an outbox names them: with the prefix and their number.
func numbered(prefix string, columns []codec.Column) []codec.Column {
	columns = slices.Clone(columns)
	for i := range columns {
		columns[i].Name = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return columns
}

// noting are the suffixes of the triggers that every captured table has.
var noting = []string{"ai", "au", "ad"}

// noteColumns are the columns of an outbox that a trigger fills.
func noteColumns(t *catalog.Table, images bool) []string {
	var cols []string
	if images {
		cols = append(cols, originColumns)
	}
	for i := range t.Key {
		cols = append(cols, fmt.Sprintf("k%d", i+1))
	}
	if images {
		for i := range t.StoredColumns {
			cols = append(cols, fmt.Sprintf("o%d", i+1))
		}
	}
	return cols
}

// noteValues are the expressions for noteColumns, given those of the stored columns.
func (o Outboxes) noteValues(t *catalog.Table, images bool, stored []string, existed bool) []string {
	var vals []string
	if images {
		flag := "0"
		if existed {
			flag = "1"
		}
		vals = append(vals, o.origin(), flag)
	}
	for _, k := range t.Key {
		vals = append(vals, stored[k])
	}
	if images {
		for i, s := range stored {
			switch {
			case !existed:
				s = "NULL"
			case t.StoredColumns[i].IsList():
				s = "CAST(" + s + " AS UNSIGNED)"
			}
			vals = append(vals, s)
		}
	}
	return vals
}

// Mark is the statement that a connection runs before a transaction, or before statements
// that are transactions by themselves, so that CollectTransactions tells them apart; "" if there is no need.
func (c *Capture) Mark(transaction bool) string {
	switch {
	case transaction:
		return "SET @ddb_tx=" + noteID
	case c.outboxes.server.MariaDB:
		return ""
	}
	return fmt.Sprintf("SET @ddb_tx=%d", statementMark)
}
