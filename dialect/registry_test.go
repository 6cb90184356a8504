package dialect_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/ddb-project/ddb/dialect"
)

// ownDriver is a program's own.
type ownDriver struct{}

func (ownDriver) Open(string) (driver.Conn, error) { return nil, errors.New("no database") }

// own is a program's own dialect, as far as it is looked for.
type own struct{ dialect.Dialect }

func (own) Name() string { return "own" }

func (own) Drives(d driver.Driver) bool { return d == ownDriver{} }

// A registered dialect is found by its driver and by its name, and there is one of a name.
func TestRegister(t *testing.T) {
	sql.Register("own", ownDriver{})
	db, err := sql.Open("own", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if d := dialect.Of(db); d != nil {
		t.Errorf("before Register %v is found", d)
	}
	dialect.Register(own{})
	if dialect.Of(db) != (own{}) || dialect.Named("own") != (own{}) || dialect.Named("other") != nil {
		t.Errorf("found %v by the driver, %v by the name, %v by another", dialect.Of(db), dialect.Named("own"), dialect.Named("other"))
	}
	defer func() {
		if recover() == nil {
			t.Error("a second dialect of the name was registered")
		}
	}()
	dialect.Register(own{})
}
