// Package testcluster opens clusters for tests: nodes over real databases, linked in memory, that are closed when the
// test ends. Three kinds share how databases are made, how long a test waits and where it logs:
//
//   - [Cluster] is a master that others follow, with what a program would set;
//   - [Fixture] is a master with replicas that are closed, opened and compared byte for byte;
//   - [Shop] is a master with snaps, whose links are cut and healed.
//
// Tests in any module of this repository use it; a package that opens MariaDB on the server that its tests share must
// call [testdb.Main] from TestMain. The environment variable DDB_TEST_LOG names a level, at which a Fixture's and a
// Shop's nodes then log to the standard error.
package testcluster
