package dialect

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
)

// Driven is a dialect that knows the drivers by which its databases are opened.
type Driven interface {
	Dialect
	// Drives reports whether databases of the driver are the dialect's. That such a database is usable is for Bind to say.
	Drives(d driver.Driver) bool
}

var registry struct {
	sync.RWMutex
	dialects []Driven
}

// Register makes a dialect known to all that is given a *sql.DB without a word about its dialect. A package that holds a dialect calls
// it from an init function. It panics if another dialect of the name is registered.
func Register(d Driven) {
	registry.Lock()
	defer registry.Unlock()
	for _, known := range registry.dialects {
		if known.Name() == d.Name() {
			panic(fmt.Sprintf("dialect: Register called twice for %q", d.Name()))
		}
	}
	registry.dialects = append(registry.dialects, d)
}

// Of returns the registered dialect of the database's driver, nil if there is none.
func Of(db *sql.DB) Dialect {
	return find(func(d Driven) bool { return d.Drives(db.Driver()) })
}

// Named returns the registered dialect of the name, nil if there is none.
func Named(name string) Dialect {
	return find(func(d Driven) bool { return d.Name() == name })
}

func find(is func(Driven) bool) Dialect {
	registry.RLock()
	defer registry.RUnlock()
	for _, d := range registry.dialects {
		if is(d) {
			return d
		}
	}
	return nil
}
