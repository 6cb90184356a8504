package settle

import (
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/journal"
)

// While a snap has not heard that a batch of its was refused, it may change the same row again: that batch is built on
// the refused one. The conflicts table tells which rows were refused, and so does a master that has just become one.

// refusedRow is what a snap's row would be if its batch had not been refused.
type refusedRow struct {
	number uint64
	at     int64  // when a conflict that was read was stored
	sum    []byte // of the row, as the conflicts table has it
}

// maxBuilt limits how many refused rows are remembered, to tell batches that were built on them.
const maxBuilt = 100_000

func (s *Settler) remember(snap string, t journal.TableName, key string, r refusedRow) {
	if len(s.built) > maxBuilt {
		clear(s.built)
	}
	s.built[builtKey(snap, t, key)] = r
}

func builtKey(snap string, t journal.TableName, key string) string {
	return strings.Join([]string{snap, t.Database, t.Table, key}, "\x00")
}

// builtOn returns the number of the refused batch that the row was built on, 0 if it was on none.
func (st *settlement) builtOn(a *arrived, cr *conflictRow) (uint64, error) {
	if st.s.recalls && a.batch.Seen <= st.s.began {
		if err := st.recallRefused(); err != nil {
			return 0, err
		}
		st.s.recalls = false
	}
	r, ok := st.s.built[builtKey(a.snap, cr.table, cr.rowKey())]
	if !ok || string(r.sum) != string(batch.Sum([]byte(rowJSON(cr.columns, cr.base)))) {
		return 0, nil
	}
	return r.number, nil
}

// recallRefused reads which rows have been refused before this settler began: of each the last time. Those that it has
// refused itself are later.
func (st *settlement) recallRefused() error {
	rows, err := st.c.QueryContext(st.ctx, "SELECT at, db, tbl, rowkey, local, origin, batch FROM "+st.s.node.Engine.Own("conflicts")+" WHERE outcome = 'refused'")
	if err != nil {
		return fmt.Errorf("node %s: read conflicts: %w", st.s.node.ID, err)
	}
	defer rows.Close()
	for rows.Next() && len(st.s.built) < maxBuilt {
		var r refusedRow
		var t journal.TableName
		var key, local, origin string
		var number int64
		if err := rows.Scan(&r.at, &t.Database, &t.Table, &key, &local, &origin, &number); err != nil {
			return fmt.Errorf("node %s: read conflicts: %w", st.s.node.ID, err)
		}
		was, ok := st.s.built[builtKey(origin, t, key)]
		if ok && (was.at == 0 || was.at > r.at || was.at == r.at && was.number > uint64(number)) {
			continue
		}
		r.number, r.sum = uint64(number), batch.Sum([]byte(local))
		st.s.remember(origin, t, key, r)
	}
	return rows.Err()
}
