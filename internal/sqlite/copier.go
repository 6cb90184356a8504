package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	driver "modernc.org/sqlite"
)

var _ dialect.FileCopier = (*engine)(nil)

// pagesAtOnce is how many pages a backup copies before it looks whether it is canceled.
const pagesAtOnce = 4096

// CopyTo copies the database by SQLite's backup interface, from one read
// transaction: later writes neither disturb it nor get into it.
func (e *engine) CopyTo(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copy: %w", err), os.Remove(path))
		}
	}()
	c, err := e.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "BEGIN; SELECT count(*) FROM main.sqlite_schema"); err != nil {
		return err
	}
	defer c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return c.Raw(func(conn any) error {
		b, err := conn.(interface {
			NewBackup(string) (*driver.Backup, error)
		}).NewBackup(path)
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if err = ctx.Err(); err == nil {
				more, err = b.Step(pagesAtOnce)
			}
		}
		return errors.Join(err, b.Finish())
	})
}

// source is the name under which LoadFrom attaches the file.
const source = "_ddb_source"

// LoadFrom replaces what is the user's by what the file has.
func (e *engine) LoadFrom(ctx context.Context, c *sql.Conn, path string, within func() error) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("load: %w", err) // ATTACH would make the file
	}
	if _, err := c.ExecContext(ctx, "ATTACH ? AS "+source, path); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer func() {
		if _, err2 := c.ExecContext(context.WithoutCancel(ctx), "DETACH "+source); err2 != nil && err == nil {
			err = fmt.Errorf("load: %w", err2)
		}
	}()
	if err := e.Begin(ctx, c, dialect.Replay); err != nil {
		return err
	}
	err = e.load1(ctx, c)
	if err == nil && within != nil {
		err = within()
	}
	if err != nil {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return fmt.Errorf("load: %w", err)
	}
	return e.Commit(ctx, c, dialect.Replay)
}

// load1 does the work of LoadFrom in its transaction.
func (e *engine) load1(ctx context.Context, c *sql.Conn) error {
	if err := e.RemoveCapture(ctx, c); err != nil {
		return err
	}
	if err := e.wipe(ctx, c); err != nil {
		return err
	}
	objects, err := e.objects(ctx, c, source)
	if err != nil {
		return err
	}
	var tables []string
	views := []string{}
	for _, o := range objects {
		switch o.Kind {
		case "trigger":
		case "view":
			views = append(views, o.SQL)
		default:
			if o.Kind == "table" {
				tables = append(tables, o.Name)
			}
			if err := run(ctx, c, o.SQL); err != nil { // indexes too: SQLite then copies theirs as they are
				return err
			}
		}
	}
	for _, name := range dialect.OwnReplicated {
		if err := run(ctx, c, "DELETE FROM main."+quote(prefix+name)); err != nil {
			return err
		}
		tables = append(tables, prefix+name)
	}
	for _, name := range tables {
		if err := copyRows(ctx, c, name); err != nil {
			return err
		}
	}
	if err := run(ctx, c, views...); err != nil {
		return err
	}
	return copyMarks(ctx, c)
}

// copyRows copies a table. With * on both sides SQLite copies whole records and index
// entries, without taking them apart; generated columns prevent that.
func copyRows(ctx context.Context, c *sql.Conn, name string) error {
	var cols []string
	var col string
	var hidden int
	generated := false
	err := each(ctx, c, "SELECT name, hidden FROM pragma_table_xinfo(?, 'main')", []any{&col, &hidden}, func() error {
		if hidden > 1 {
			generated = true
		} else {
			cols = append(cols, quote(col))
		}
		return nil
	}, name)
	if err != nil {
		return err
	}
	into, from := "", "*"
	if generated {
		from = strings.Join(cols, ", ")
		into = " (" + from + ")"
	}
	return run(ctx, c, fmt.Sprintf("INSERT INTO main.%s%s SELECT %s FROM %s.%s", quote(name), into, from, source, quote(name)))
}

// copyMarks copies what a database has beside its tables: the AUTOINCREMENT counters
// and the program's user_version and application_id.
func copyMarks(ctx context.Context, c *sql.Conn) error {
	for _, p := range marks {
		v, err := integer(ctx, c, "PRAGMA "+source+"."+p)
		if err == nil {
			err = run(ctx, c, fmt.Sprintf("PRAGMA main.%s = %d", p, v))
		}
		if err != nil {
			return err
		}
	}
	var names []string
	var name string
	err := each(ctx, c, "SELECT name FROM "+source+".sqlite_sequence", []any{&name}, func() error { names = append(names, name); return nil })
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, own)
	for _, name := range names {
		err := run(ctx, c, "DELETE FROM main.sqlite_sequence WHERE name = "+literal(name),
			"INSERT INTO main.sqlite_sequence (name, seq) SELECT name, seq FROM "+source+".sqlite_sequence WHERE name = "+literal(name))
		if err != nil {
			return err
		}
	}
	return nil
}
