package snap

import (
	"maps"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/batch"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/journal"
)

// pendingKeys holds, by table and key, the last batch that has changed the row.
type pendingKeys map[journal.TableName]map[string]int64

func (p pendingKeys) add(b *batch.Batch, id int64) error {
	var buf []byte
	for _, c := range b.Changes {
		name := journal.TableName{Database: c.Database, Table: c.Table}
		rows := p[name]
		if rows == nil {
			rows = make(map[string]int64)
			p[name] = rows
		}
		err := c.Each(func(r dialect.Row) error {
			buf = wire.AppendRow(buf[:0], r.Key)
			rows[string(buf)] = max(rows[string(buf)], id)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// change is what a transaction has done to the queue, which counts when it is committed.
type change struct {
	made    []*madeBatch
	dropped []*madeBatch
	removed []removedKey
	own     []pendingKeys // of the batches dropped

	withheld map[journal.TableName]map[string][]any // of tables that schema statements mention, as it was before them
}

type removedKey struct {
	rows map[string]int64
	key  string
	id   int64
}

// remove takes dropped batches, and the rows of theirs that no later one has changed, out of what is known.
func (u *queue) remove(ch *change, keys pendingKeys, list []*madeBatch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ch.dropped = append(ch.dropped, list...)
	ch.own = append(ch.own, keys)
	for name, dropped := range keys {
		rows := u.keys[name]
		for key, id := range dropped {
			if rows[key] == id {
				ch.removed = append(ch.removed, removedKey{rows, key, id})
				delete(rows, key)
				delete(u.withheld[name], key)
			}
		}
	}
}

// commit makes the change count: with it, the local writes before the given one are in batches.
func (u *queue) commit(ch *change, written uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queued(ch.made)
	u.covered.Store(written)
	for _, m := range ch.dropped {
		u.count--
		u.bytes -= m.bytes
		u.oldest = max(u.oldest, m.at) // those that stay were made later
	}
	if u.count == 0 {
		u.oldest = 0
	}
}

// undo takes the change back, whose commit may stand all the same. schema says that its schema statements are undone too.
func (u *queue) undo(ch *change, schema bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range ch.removed {
		r.rows[r.key] = r.id
	}
	if schema {
		maps.Copy(u.withheld, ch.withheld)
	}
	u.stale = u.stale || len(ch.made)+len(ch.dropped) > 0
}

// settled leaves out the rows of batches that stay, and keeps them as the master has them. loose says that local changes
// may stand where others' rows belong.
func (u *queue) settled(ch *change, name journal.TableName, rows []dialect.Row) (rest []dialect.Row, loose bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	loose = u.count > 0 || len(ch.made) > 0
	pending := u.keys[name]
	made := make(pendingKeys)
	for _, m := range ch.made {
		if err := made.add(m.batch, m.id); err != nil {
			return nil, false, err
		}
	}
	fresh := made[name]
	if len(pending) == 0 && len(fresh) == 0 {
		return rows, loose, nil
	}
	rest = rows[:0:0]
	var buf []byte
	for _, r := range rows {
		buf = wire.AppendRow(buf[:0], r.Key)
		if pending[string(buf)] == 0 && fresh[string(buf)] == 0 {
			rest = append(rest, r)
			continue
		}
		if u.withheld[name] == nil {
			u.withheld[name] = make(map[string][]any)
		}
		u.withheld[name][string(buf)] = r.Values
	}
	return rest, loose, nil
}

// master returns a row that was left out, as the master has it, and whether that is known.
func (u *queue) master(name journal.TableName, key string) (values []any, known bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	values, known = u.withheld[name][key]
	return values, known
}

// withhold replaces the master's rows of a table by what schema statements have made of them.
func (u *queue) withhold(ch *change, name journal.TableName, now map[string][]any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ch.withheld == nil {
		ch.withheld = make(map[journal.TableName]map[string][]any)
	}
	ch.withheld[name] = u.withheld[name]
	u.withheld[name] = now
}

// recalled adds the master's rows as the journal has them, where nothing later is known.
func (u *queue) recalled(states map[journal.TableName]map[string][]any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, rows := range states {
		if u.withheld[name] == nil {
			u.withheld[name] = make(map[string][]any)
		}
		for key, values := range rows {
			if _, known := u.withheld[name][key]; !known {
				u.withheld[name][key] = values
			}
		}
	}
}
