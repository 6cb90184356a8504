/*
Package ddb turns ordinary SQL databases into one replicated database.

A program that keeps its data in MariaDB, MySQL or SQLite hands its *sql.DB to
[Open] and uses the [Cluster] it gets in its place: Exec goes through the master,
Query to a healthy replica. The data stay in plain tables that any client can open. It imports the dialect of its
database, and the driver with it:

	import _ "github.com/ddb-project/ddb/dialect/sqlite" // SQLite, by modernc.org/sqlite
	import _ "github.com/ddb-project/ddb/dialect/mysql"  // MariaDB and MySQL, by github.com/go-sql-driver/mysql

# Nouns

A node is a process with a local database and one role. The master takes the writes.
Replicas follow it and serve reads. Snaps follow it too, and take writes locally, with
the link down as well, which they exchange with everyone through the master.

An entry says which rows changed and what they are now; its place in the history is its
LSN, and the number of the master's reign is its epoch. The journal is the log of entries
that every node keeps in its own database. A follower's pending queue is
the journal after the entry that it acknowledged last.

# Guarantees

A write that returned without error is durable in the master's database, and every
replica ends with the same rows, whatever crashes, whatever link is cut. What a replica
shows is a state that the master had: never half a transaction. Reads through one
Cluster see the writes made earlier through it, unless the context asks for less or more
([WithConsistency], [WithMaxStaleness]). The master serves on when followers are down. When a
snap's write meets another, one of them stands everywhere and the other is kept in the
conflicts table. What cannot be replicated correctly is refused with words, and an entry
that cannot be applied stops its node visibly (state [Failed], with the reason).

# Caveats

Replication is asynchronous unless [Options.WaitReplicas] asks for confirmation: a master
that is lost for ever takes with it what no replica had. ddb elects no master: a
person or a program decides, and opens a replica's database with [Role] Master.

A replicated table needs a primary key that holds no NULL. Schema statements run on the master only.
A transaction on SQLite holds the only writer until it ends. On MariaDB each node
needs a few connections of the pool for itself: do not limit it to fewer than eight.

Nodes on a network need [Options.Key], and TLS where others can read or change what they say. A node that
is let in may do what [Options.Nodes] gives it, and a follower trusts its master. docs/security.md has the rest.

Triggers of the user's own act where the write is made and are kept back on replicas;
events, sequences, temporary and virtual tables are not replicated. TRUNCATE and ALTER by
clients that bypass ddb are noticed on a master within a second, and the table is then shipped whole.
*/
package ddb
