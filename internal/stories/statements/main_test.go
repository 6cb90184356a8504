package statements_test

import (
	"testing"

	"github.com/ddb-project/ddb/internal/testdb"
)

// TestMain stops the shared MariaDB and proves that no goroutine is left.
func TestMain(m *testing.M) { testdb.Main(m) }
