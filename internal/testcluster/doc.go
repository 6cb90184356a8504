// Package testcluster opens clusters for tests: nodes over real databases, linked in memory, that are closed when the
// test ends. Tests in any module of this repository use it; a package that opens MariaDB on the server that its tests
// share must call [testdb.Main] from TestMain.
package testcluster
