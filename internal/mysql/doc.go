// Package mysql teaches ddb MariaDB (10.6 and later; built against 10.11) and, as far
// as the two agree, MySQL 8. It needs no configuration of the server beyond what
// Dialect.Bind names, and works on any *sql.DB of github.com/go-sql-driver/mysql,
// whatever the parameters of its DSN.
//
// ddb's own tables live in a database of their own, named after the first replicated
// database with "_ddb" behind it. Each replicated table has an outbox there, out_N,
// that triggers in the user's database fill with the keys of changed rows.
//
// # Parts
//
// This package is the door: Dialect, and the engine that binds the parts and does nothing itself. Each part says in its own
// package what it owns and promises; it knows those that stand above it only.
//
//	lang          names, constants, sql_modes, numbers of errors
//	codec         how a column's values are read and written
//	server        version, privileges, limits, databases, ddb's own tables
//	sessions      connections for a purpose, their transactions, the node's locks
//	catalog       tables, keys, foreign keys, triggers, the schema's version
//	capture       outboxes, the triggers that fill them, reading and clearing notes
//	apply         rows by key: written, looked up, paged through; handed-out keys
//	transactions  what a snap's transactions are
//	schema        the statements that make a schema, and running one
//
// What is left here are the questions that ddb asks about errors and connections that are not the engine's.
//
// # Why values survive
//
// Connections made by Conn (package sessions) run with time zone UTC, without conversion of results and
// without strict mode. Temporal, fixed-point and address types travel as their text,
// ENUM, SET and BIT as numbers, FLOAT widened to DOUBLE, everything else as the
// bytes that the column holds in its own character set. Everything is written back as
// literals that the server takes as they are, so nothing depends on how the driver
// formats or parses.
package mysql
