package journal

import (
	"context"
	"slices"
	"strings"
	"time"
)

// EntryInfo describes an entry of the journal for people.
type EntryInfo struct {
	Epoch   uint64
	LSN     LSN
	At      time.Time
	Bytes   int64
	Schema  []string          // schema statements that it ran
	Tables  []TableInfo       // what it changed
	Batches map[string]uint64 // snaps whose batches it includes: where the changes came from
}

// TableInfo is one table's share of an entry.
type TableInfo struct {
	Table   string
	Present int // rows written
	Absent  int // rows deleted
}

// Describe adds a part to the description of its entry.
func Describe(list []EntryInfo, p *Part) ([]EntryInfo, error) {
	if len(list) == 0 || list[len(list)-1].LSN != p.LSN {
		list = append(list, EntryInfo{Epoch: p.Epoch, LSN: p.LSN, At: p.Time()})
	}
	e := &list[len(list)-1]
	e.Bytes += int64(len(p.Payload))
	if p.Records < 0 {
		return list, nil // where a snapshot was taken: no content
	}
	b, err := Decode(p)
	if err != nil {
		return nil, err
	}
	for _, s := range b.Schema {
		e.Schema = append(e.Schema, s.SQL)
	}
	if len(b.Batches) > 0 {
		e.Batches = make(map[string]uint64, len(b.Batches))
		for queue, number := range b.Batches {
			id, _, _ := strings.Cut(queue, "/")
			e.Batches[id] = max(e.Batches[id], number)
		}
	}
	for _, c := range b.Changes {
		e.add(TableName{c.Database, c.Table}.String(), c)
	}
	return list, nil
}

func (e *EntryInfo) add(table string, c *Change) {
	for i := range e.Tables {
		if e.Tables[i].Table == table {
			e.Tables[i].Present += c.Present
			e.Tables[i].Absent += c.Absent
			return
		}
	}
	e.Tables = append(e.Tables, TableInfo{Table: table, Present: c.Present, Absent: c.Absent})
}

// Tail describes the last n entries of a journal, the newest first. It reads them whole.
func Tail(ctx context.Context, j Journal, n int) ([]EntryInfo, error) {
	first, last, err := j.Bounds(ctx)
	if err != nil || last.LSN == 0 {
		return nil, err
	}
	lsn := first.LSN
	if last.LSN > LSN(n) {
		lsn = max(lsn, last.LSN-LSN(n)+1)
	}
	var list []EntryInfo
	for index := -1; ; {
		parts, err := j.Read(ctx, lsn, index, ReadBytes)
		if err != nil {
			return nil, err
		}
		if len(parts) == 0 {
			break
		}
		for i := range parts {
			if list, err = Describe(list, &parts[i]); err != nil {
				return nil, err
			}
		}
		end := parts[len(parts)-1]
		lsn, index = end.LSN, end.Index
	}
	slices.Reverse(list)
	return list, nil
}
