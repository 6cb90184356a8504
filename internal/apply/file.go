package apply

import (
	"context"
	"fmt"
	"os"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/fault"
)

// TakeFile stores a piece of the file. What has come is lost with the link.
func (a *Applier) TakeFile(chunk []byte) (err error) {
	if err := a.expects(true); err != nil {
		return err
	}
	if a.copy == nil {
		if a.copy, err = os.CreateTemp("", "ddb-snapshot-*"); err != nil {
			a.copy = nil
			return fmt.Errorf("node %s: snapshot: %w", a.node.ID, err)
		}
	}
	n, err := a.copy.Write(chunk)
	a.received += int64(n)
	if err != nil {
		return fmt.Errorf("node %s: snapshot: %w", a.node.ID, err)
	}
	a.progress("", false)
	return nil
}

// loadFile fills the database from the file that has been received; within runs inside its transaction.
func (a *Applier) loadFile(ctx context.Context, within func() error) error {
	copier, ok := a.node.Engine.(dialect.FileCopier)
	if !ok {
		return fmt.Errorf("%w: node %s: the master sent its database as a file, which %s cannot load", fault.ErrOptions, a.node.ID, a.node.Dialect.Name())
	}
	path := a.copy.Name()
	if err := a.copy.Close(); err != nil {
		return fmt.Errorf("node %s: snapshot: %w", a.node.ID, err)
	}
	if err := copier.LoadFrom(ctx, a.conn, path, within); err != nil {
		return fmt.Errorf("node %s: load the snapshot: %w", a.node.ID, err)
	}
	a.dropFile()
	_, err := a.node.LoadTables(ctx, a.conn)
	return err
}

// dropFile forgets a file, whole or not.
func (a *Applier) dropFile() {
	if a.copy == nil {
		return
	}
	a.copy.Close()
	os.Remove(a.copy.Name())
	a.copy = nil
}
