package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
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
func (f *Sender) snapshotFile(ctx context.Context, cat *store.Catalogue) (string, error) {
	copier, ok := f.fleet.node.Engine.(dialect.FileCopier)
	sizer, sized := f.fleet.node.Journal.(journal.Sizer)
	_, inside := f.fleet.node.Journal.(journal.Transactional) // the copy must hold the journal
	f.mu.Lock()
	role := f.role
	f.mu.Unlock()
	if !ok || !sized || !inside || role != health.Replica {
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
		return "", fmt.Errorf("snapshot: %w", err)
	}
	path := filepath.Join(dir, "copy")
	if err := copier.CopyTo(ctx, path); err != nil {
		return "", errors.Join(fmt.Errorf("snapshot: %w", err), os.RemoveAll(dir))
	}
	return path, nil
}

// sendFile ships the copy.
func (f *Sender) sendFile(ctx context.Context, l *Connection, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer in.Close()
	chunk := make([]byte, fileChunk)
	for {
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if err := errors.Join(ctx.Err(), l.Write(link.MsgFile, chunk[:n])); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("snapshot: %w", err)
		}
	}
}
