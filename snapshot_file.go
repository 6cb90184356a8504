package ddb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/journal"
)

// Where a database is a file, a new replica gets a copy of it, which is several times
// faster than its rows. A copy that was cut off is not resumed: the rows travel then.
const (
	fileChunk       = 1 << 20  // bytes of a file in one message
	fileJournalMost = 64 << 20 // a journal with more bytes is not worth carrying along
)

// snapshotFile makes a consistent copy of the database in a folder of its own, or returns "" if the rows
// must travel: no such database, a table among its own that is not replicated, a snap.
func (f *sender) snapshotFile(ctx context.Context, cat *store.Catalogue) (string, error) {
	copier, ok := f.m.seq.node.Engine.(dialect.FileCopier)
	sizer, sized := f.m.seq.node.Journal.(JournalSizer)
	_, inside := f.m.seq.node.Journal.(journal.Transactional) // the copy must hold the journal
	f.mu.Lock()
	role := f.role
	f.mu.Unlock()
	if !ok || !sized || !inside || role != Replica {
		return "", nil
	}
	for _, t := range cat.List {
		if t.Refusal != "" {
			return "", nil
		}
	}
	if _, bytes, _, err := sizer.Size(ctx, 0); err != nil || bytes > fileJournalMost {
		return "", err
	}
	dir, err := os.MkdirTemp("", "ddb-snapshot-*")
	if err != nil {
		return "", fmt.Errorf("ddb: snapshot: %w", err)
	}
	path := filepath.Join(dir, "copy")
	if err := copier.CopyTo(ctx, path); err != nil {
		return "", errors.Join(fmt.Errorf("ddb: snapshot: %w", err), os.RemoveAll(dir))
	}
	return path, nil
}

// sendFile ships the copy.
func (f *sender) sendFile(ctx context.Context, l *connection, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("ddb: snapshot: %w", err)
	}
	defer in.Close()
	chunk := make([]byte, fileChunk)
	for {
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if err := errors.Join(ctx.Err(), l.write(link.MsgFile, chunk[:n])); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("ddb: snapshot: %w", err)
		}
	}
}

// fileChunk stores a piece of the file. What has come is lost with the link.
func (a *applier) fileChunk(chunk []byte) (err error) {
	if err := a.expects(true); err != nil {
		return err
	}
	if a.copy == nil {
		if a.copy, err = os.CreateTemp("", "ddb-snapshot-*"); err != nil {
			a.copy = nil
			return fmt.Errorf("ddb: node %s: snapshot: %w", a.node.ID, err)
		}
	}
	n, err := a.copy.Write(chunk)
	a.received += int64(n)
	if err != nil {
		return fmt.Errorf("ddb: node %s: snapshot: %w", a.node.ID, err)
	}
	a.progress("", false)
	return nil
}

// loadFile fills the database from the file that has been received; within runs inside its transaction.
func (a *applier) loadFile(ctx context.Context, within func() error) error {
	copier, ok := a.node.Engine.(dialect.FileCopier)
	if !ok {
		return fmt.Errorf("%w: node %s: the master sent its database as a file, which %s cannot load", ErrOptions, a.node.ID, a.node.Dialect.Name())
	}
	path := a.copy.Name()
	if err := a.copy.Close(); err != nil {
		return fmt.Errorf("ddb: node %s: snapshot: %w", a.node.ID, err)
	}
	if err := copier.LoadFrom(ctx, a.conn, path, within); err != nil {
		return fmt.Errorf("ddb: node %s: load the snapshot: %w", a.node.ID, err)
	}
	a.dropFile()
	_, err := a.node.LoadTables(ctx, a.conn)
	return err
}

// dropFile forgets a file, whole or not.
func (a *applier) dropFile() {
	if a.copy == nil {
		return
	}
	a.copy.Close()
	os.Remove(a.copy.Name())
	a.copy = nil
}
