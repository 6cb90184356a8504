package testdb

import (
	"context"
	"database/sql/driver"
	"io"
)

// Idle is a driver whose queries have no rows, to see what else a query costs: give it to sql.OpenDB. Its methods make it the connector,
// the connection and the rows alike.
type Idle struct{}

func (Idle) Connect(context.Context) (driver.Conn, error) { return Idle{}, nil }
func (Idle) Driver() driver.Driver                        { return Idle{} }
func (Idle) Open(string) (driver.Conn, error)             { return Idle{}, nil }
func (Idle) Prepare(string) (driver.Stmt, error)          { return nil, driver.ErrSkip }
func (Idle) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (Idle) Close() error                                 { return nil }
func (Idle) Columns() []string                            { return nil }
func (Idle) Next([]driver.Value) error                    { return io.EOF }
func (Idle) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return Idle{}, nil
}
