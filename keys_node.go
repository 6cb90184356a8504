package ddb

import (
	"github.com/ddb-project/ddb/internal/keys"
)

// keyNumber is the writer's hook of a master.
func (m *master) keyNumber() int64 {
	if !m.seq.SharesKeys() {
		return 0
	}
	return keys.FirstSnap - 1
}
