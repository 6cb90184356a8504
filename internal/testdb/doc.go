// Package testdb gives tests real databases: private MariaDB servers, one
// MariaDB server that the tests of a process share, and SQLite files.
//
// A test that may kill or configure its server takes [MariaDB]. All others
// take [SharedMariaDB] and a database of their own from [Server.NewDatabase];
// their package calls [Main] from TestMain so that the shared server ends with
// the tests.
//
// Without MariaDB on the machine such tests are skipped, unless the environment
// has DDB_REQUIRE_MARIADB=1: then they fail. Under -short they are skipped as well,
// with the same exception: the quick loop starts no server.
package testdb
