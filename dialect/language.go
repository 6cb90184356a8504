package dialect

// Language is the SQL that programs write to a database: how ddb reads their statements, and writes its own where they are not the
// engine's business.
type Language int

// The languages.
const (
	SQLite Language = iota
	MySQL           // of MariaDB and MySQL
)

// String returns "sqlite" or "mysql".
func (l Language) String() string {
	if l == MySQL {
		return "mysql"
	}
	return "sqlite"
}
