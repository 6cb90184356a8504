package ddb_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/ddb-project/ddb/internal/testdb"
)

const (
	testPatience = 20 * time.Second
	testStep     = 5 * time.Millisecond
)

func mariadbEngine(t *testing.T) testEngine {
	server := testdb.SharedMariaDB(t)
	return testEngine{name: "mariadb", int: "INT NOT NULL AUTO_INCREMENT PRIMARY KEY",
		db: func(t *testing.T, node string) *sql.DB { return server.Open(t, server.NewDatabase(t)) }}
}
