package records

import (
	"context"
	"fmt"
	"strings"
)

// ownPrefix begins the names of ddb's own tables on SQLite.
const ownPrefix = "_ddb_"

// Tables lists the names of the user's tables, in alphabetical order.
func (s *Store) Tables(ctx context.Context) ([]string, error) {
	query := `SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1`
	if s.dialect == SQLite {
		query = `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1`
	}
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, ownPrefix) {
			names = append(names, name)
		}
	}
	return names, rows.Err()
}

// Table describes a table. It is read anew each time, because the schema may follow the master's.
func (s *Store) Table(ctx context.Context, name string) (*Table, error) {
	t := &Table{Name: name, dialect: s.dialect}
	read := s.sqliteColumns
	if s.dialect == MariaDB {
		read = s.mariadbColumns
	}
	if err := read(ctx, t); err != nil {
		return nil, fmt.Errorf("describe table %s: %w", name, err)
	}
	if len(t.Columns) == 0 {
		return nil, fmt.Errorf("there is no table %s (any more)", name)
	}
	for _, k := range t.Key {
		t.Columns[k].Key, t.Columns[k].Null = true, false
	}
	return t, nil
}

func (s *Store) sqliteColumns(ctx context.Context, t *Table) error {
	rows, err := s.db.QueryContext(ctx, `SELECT name, type, "notnull", coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo(?)`, t.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	places := make(map[int]int) // place in the key, from 1 -> column
	for rows.Next() {
		var c Column
		var declared string
		var notNull bool
		var place, hidden int
		if err := rows.Scan(&c.Name, &declared, &notNull, &c.Default, &place, &hidden); err != nil {
			return err
		}
		if hidden == 1 {
			continue // of a virtual table
		}
		c.Type, c.Null, c.Generated = declared, !notNull, hidden > 1
		c.domain = sqliteDomain(declared)
		if place > 0 {
			places[place] = len(t.Columns)
		}
		t.Columns = append(t.Columns, c)
	}
	for place := 1; place <= len(places); place++ {
		t.Key = append(t.Key, places[place])
	}
	if len(t.Key) == 1 && strings.EqualFold(t.Columns[t.Key[0]].Type, "INTEGER") {
		t.Columns[t.Key[0]].Auto = true
	}
	t.rowid = len(t.Key) == 0
	return rows.Err()
}

func (s *Store) mariadbColumns(ctx context.Context, t *Table) error {
	rows, err := s.db.QueryContext(ctx, `SELECT c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE = 'YES', COALESCE(c.COLUMN_DEFAULT, ''), c.EXTRA, COALESCE(k.SEQ_IN_INDEX, 0)
		FROM information_schema.COLUMNS c
		LEFT JOIN information_schema.STATISTICS k ON k.TABLE_SCHEMA = c.TABLE_SCHEMA AND k.TABLE_NAME = c.TABLE_NAME
			AND k.COLUMN_NAME = c.COLUMN_NAME AND k.INDEX_NAME = 'PRIMARY'
		WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION`, t.Name)
	if err != nil {
		return err
	}
	defer rows.Close()
	places := make(map[int]int)
	for rows.Next() {
		var c Column
		var extra string
		var place int
		if err := rows.Scan(&c.Name, &c.Type, &c.Null, &c.Default, &extra, &place); err != nil {
			return err
		}
		extra = strings.ToUpper(extra)
		c.Auto = strings.Contains(extra, "AUTO_INCREMENT")
		c.Generated = strings.Contains(extra, "GENERATED")
		if c.Null && c.Default == "NULL" {
			c.Default = ""
		}
		c.domain = mariadbDomain(c.Type)
		if place > 0 {
			places[place] = len(t.Columns)
		}
		t.Columns = append(t.Columns, c)
	}
	for place := 1; place <= len(places); place++ {
		t.Key = append(t.Key, places[place])
	}
	return rows.Err()
}
