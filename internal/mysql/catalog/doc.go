// Package catalog reads what the server's catalogue says of the replicated tables: columns, indexes, foreign keys and where their
// cascades lead, triggers, what changes with a definition, and why a table cannot be replicated.
//
// [Read] makes a [Catalog], which never changes; [Current] is the one that was read last, where the other parts look tables up, and
// which refuses a table that has changed since. A [Table] also knows how a query names it and its keys. The package
// changes nothing in a database and knows nothing of what capture makes there but the names of ddb's own triggers.
package catalog
