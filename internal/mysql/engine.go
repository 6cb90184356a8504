package mysql

import (
	"context"
	"database/sql"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/apply"
	"github.com/ddb-project/ddb/internal/mysql/capture"
	"github.com/ddb-project/ddb/internal/mysql/catalog"
	"github.com/ddb-project/ddb/internal/mysql/schema"
	"github.com/ddb-project/ddb/internal/mysql/server"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
	"github.com/ddb-project/ddb/internal/mysql/transactions"
)

// engine is the dialect bound to one *sql.DB: it binds the parts together and does nothing itself.
type engine struct {
	server       *server.Server
	sessions     *sessions.Sessions
	locks        *sessions.Locks
	current      *catalog.Current
	capture      *capture.Capture
	transactions *transactions.Collector
	applier      *apply.Applier
	schema       *schema.Schema
}

// What the engine is able to do besides.
var _ interface {
	dialect.Engine
	dialect.LockKeeper
	dialect.DatabaseAdder
	dialect.Temporaries
	dialect.SessionTuner
	dialect.KeySharer
	dialect.KeyGauge
	dialect.KeyGiver
	dialect.NameFolder
	dialect.RowEstimator
	dialect.CounterKeeper
	dialect.FunctionLister
	dialect.ViewLister
	dialect.Warner
	dialect.Rewriter
	dialect.Cascader
	dialect.TransactionReader
} = (*engine)(nil)

// newEngine makes the parts of an engine on a server.
func newEngine(db *sql.DB, s *server.Server, guard bool) *engine {
	e := &engine{server: s, sessions: sessions.New(db, s.MariaDB), locks: sessions.NewLocks(db, s)}
	boxes := capture.NewOutboxes(s)
	e.current = catalog.NewCurrent(func(ctx context.Context, q dialect.Querier) (*catalog.Catalog, error) {
		return boxes.Read(ctx, q, e.sessions)
	})
	e.capture = capture.New(s, e.sessions, e.current, guard)
	e.transactions = transactions.New(s, e.sessions, e.current)
	e.applier = apply.New(s, e.sessions, e.current)
	e.schema = schema.New(s, e.sessions, e.current)
	return e
}

// Tables reads the catalogue anew.
func (e *engine) Tables(ctx context.Context, q dialect.Querier) ([]*dialect.Table, error) {
	c, err := e.current.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	return c.List(), nil
}

// Version also changes when one of the triggers is missing that InstallCapture has left.
func (e *engine) Version(ctx context.Context, q dialect.Querier) (string, error) {
	return catalog.Version(ctx, q, e.server, e.capture.Installed())
}

// Transactional reports false: schema statements commit.
func (e *engine) Transactional() bool { return false }

// SingleWriter reports false: InnoDB locks rows.
func (e *engine) SingleWriter() bool { return false }

// Replicate makes the engine replicate these databases beside those it was bound to. A node that holds its lock
// takes it on these too; if it cannot, nothing changes.
func (e *engine) Replicate(ctx context.Context, more []string) error {
	all := e.server.With(more)
	if err := e.locks.Only(ctx, all); err != nil {
		return err
	}
	e.server.Replicate(all)
	return nil
}

// Lock takes the node's locks on the replicated databases.
func (e *engine) Lock(ctx context.Context) (release func() error, err error) {
	return e.locks.Lock(ctx)
}

// KeepLock makes sure that the node holds its locks, and takes them anew if the server has let go of
// them. lost says that it had: another node may have been here meanwhile. The error says why they cannot be had.
func (e *engine) KeepLock(ctx context.Context) (lost bool, err error) { return e.locks.Keep(ctx) }

// Connections and their transactions.

func (e *engine) Conn(ctx context.Context, p dialect.Purpose) (*sql.Conn, error) {
	return e.sessions.Conn(ctx, p)
}

func (e *engine) Release(c *sql.Conn) {
	e.sessions.Release(c)
}

func (e *engine) Begin(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	return e.sessions.Begin(ctx, c, p)
}

func (e *engine) Commit(ctx context.Context, c *sql.Conn, p dialect.Purpose) error {
	return e.sessions.Commit(ctx, c, p)
}

func (e *engine) HasTemporary(ctx context.Context, q dialect.Querier) (bool, error) {
	return e.sessions.HasTemporary(ctx, q)
}

func (e *engine) IsTemporary(ctx context.Context, q dialect.Querier, database, name string) (bool, error) {
	return e.sessions.IsTemporary(ctx, q, database, name)
}

func (e *engine) Database(ctx context.Context, q dialect.Querier) (string, error) {
	return e.sessions.Database(ctx, q)
}

func (e *engine) HoldsTables(ctx context.Context, c *sql.Conn) (bool, error) {
	return e.sessions.HoldsTables(ctx, c, e.server.Own("meta"))
}

func (e *engine) Impatient(ctx context.Context, c *sql.Conn) (restore func() error, err error) {
	return e.sessions.Impatient(ctx, c)
}

func (e *engine) Unchecked(ctx context.Context, c *sql.Conn) (restore func() error, err error) {
	return e.sessions.Unchecked(ctx, c)
}

func (e *engine) ShareKeys(ctx context.Context, c *sql.Conn, step, number int64) error {
	return e.sessions.ShareKeys(ctx, c, step, number)
}

// The server and what of it is ddb's own.

func (e *engine) Own(name string) string {
	return e.server.Own(name)
}

func (e *engine) OwnDatabase(primary string) string { return server.OwnDatabaseOf(primary) }

func (e *engine) CreateOwn(ctx context.Context, q dialect.Querier) error {
	return e.server.CreateOwn(ctx, q)
}

func (e *engine) DropOwn(ctx context.Context, q dialect.Querier) error {
	return e.server.DropOwn(ctx, q)
}

func (e *engine) MostBytes() int {
	return e.server.MostBytes()
}

func (e *engine) Warning() string {
	return e.server.Warning()
}

func (e *engine) GivesKeys(ctx context.Context, q dialect.Querier) (bool, error) {
	return e.server.GivesKeys(ctx, q)
}

func (e *engine) HasTable(ctx context.Context, q dialect.Querier, name string) (bool, error) {
	return e.server.HasTable(ctx, q, name)
}

func (e *engine) FoldsNames(ctx context.Context, q dialect.Querier) (bool, error) {
	return e.server.FoldsNames(ctx, q)
}

func (e *engine) EstimateRows(ctx context.Context, q dialect.Querier, t *dialect.Table) (int64, error) {
	return e.server.EstimateRows(ctx, q, t)
}

// The schema and its statements.

func (e *engine) Objects(ctx context.Context, q dialect.Querier) (list []dialect.Object, err error) {
	return e.schema.Objects(ctx, q)
}

func (e *engine) OtherObjects(ctx context.Context, q dialect.Querier) ([]dialect.Object, error) {
	return e.schema.OtherObjects(ctx, q)
}

func (e *engine) Definitions(ctx context.Context, q dialect.Querier, tables []*dialect.Table) ([]dialect.Object, error) {
	return e.schema.Definitions(ctx, q, tables)
}

func (e *engine) Functions(ctx context.Context, q dialect.Querier) (names []string, err error) {
	return e.schema.Functions(ctx, q)
}

func (e *engine) Views(ctx context.Context, q dialect.Querier) (map[string]string, error) {
	return e.schema.Views(ctx, q)
}

func (e *engine) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	return e.schema.Run(ctx, c, s)
}

func (e *engine) Wipe(ctx context.Context, c *sql.Conn) error {
	return e.schema.Wipe(ctx, c)
}

// What is noted in the outboxes.

func (e *engine) InstallCapture(ctx context.Context, q dialect.Querier, tables []*dialect.Table, mode dialect.CaptureMode) error {
	return e.capture.InstallCapture(ctx, q, tables, mode)
}

func (e *engine) RemoveCapture(ctx context.Context, q dialect.Querier) error {
	return e.capture.RemoveCapture(ctx, q)
}

func (e *engine) Noted(ctx context.Context, q dialect.Querier, tables []*dialect.Table) ([]*dialect.Table, error) {
	return e.capture.Noted(ctx, q, tables)
}

func (e *engine) Collect(ctx context.Context, q dialect.Querier, t *dialect.Table, emit func(dialect.Row) error) (n dialect.Notes, err error) {
	return e.capture.Collect(ctx, q, t, emit)
}

func (e *engine) CollectImages(ctx context.Context, q dialect.Querier, t *dialect.Table, emit func(dialect.Row) error) (n dialect.Notes, err error) {
	return e.capture.CollectImages(ctx, q, t, emit)
}

func (e *engine) Clear(ctx context.Context, q dialect.Querier, n dialect.Notes) error {
	return e.capture.Clear(ctx, q, n)
}

func (e *engine) DropBatches(ctx context.Context, q dialect.Querier, ids []int64) error {
	return e.capture.DropBatches(ctx, q, ids)
}

func (e *engine) Touch(ctx context.Context, q dialect.Querier, t *dialect.Table, keys [][]any) error {
	return e.capture.Touch(ctx, q, t, keys)
}

func (e *engine) Cascaded(ctx context.Context, q dialect.Querier, tables []*dialect.Table) (func(func(*dialect.Table, dialect.Row) error) error, error) {
	return e.capture.Cascaded(ctx, q, tables)
}

// Which transactions of a snap have made the notes.

func (e *engine) Mark(transaction bool) string {
	return e.capture.Mark(transaction)
}

func (e *engine) CollectTransactions(ctx context.Context, q dialect.Querier, tables []*dialect.Table, most int, emit func(tx int, t *dialect.Table, r dialect.Row) error) (notes []dialect.Notes, more bool, err error) {
	return e.transactions.CollectTransactions(ctx, q, tables, most, emit)
}

// Rows, and the keys that are handed out for them.

func (e *engine) Apply(ctx context.Context, q dialect.Querier, t *dialect.Table, rows []dialect.Row, mode dialect.ApplyMode) error {
	return e.applier.Apply(ctx, q, t, rows, mode)
}

func (e *engine) Lookup(ctx context.Context, q dialect.Querier, t *dialect.Table, keys [][]any, emit func(dialect.Row) error) error {
	return e.applier.Lookup(ctx, q, t, keys, emit)
}

func (e *engine) Scan(ctx context.Context, q dialect.Querier, t *dialect.Table, after []any, limit int, emit func(values []any) error) (more bool, err error) {
	return e.applier.Scan(ctx, q, t, after, limit, emit)
}

func (e *engine) Remember(ctx context.Context, q dialect.Querier, t *dialect.Table, highest uint64) error {
	return e.applier.Remember(ctx, q, t, highest)
}

func (e *engine) NextKey(ctx context.Context, q dialect.Querier, t *dialect.Table) (uint64, error) {
	return e.applier.NextKey(ctx, q, t)
}

func (e *engine) RaiseCounters(ctx context.Context, q dialect.Querier) error {
	return e.applier.RaiseCounters(ctx, q)
}

// Unjudged returns a statement that stores what it can, on MariaDB.
func (e *engine) Unjudged(statement string) string { return apply.Unjudged + statement }

func (e *engine) Checks(ctx context.Context, q dialect.Querier, database, table string, columns []string) (string, error) {
	return apply.Checks(ctx, q, database, table, columns)
}

func (e *engine) UsedKeys(ctx context.Context, q dialect.Querier, t *dialect.Table, _, _ int64) (column string, used float64, err error) {
	return e.applier.UsedKeys(ctx, q, t)
}

func (e *engine) NarrowKeys(t *dialect.Table, step, least int64) (column string, keys int64, cure string) {
	return e.applier.NarrowKeys(t, step, least)
}
