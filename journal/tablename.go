package journal

import (
	"strings"
)

// TableName is the name that entries use for a table. The Database is "" for the one that every node may have under another name.
type TableName struct{ Database, Table string }

// String formats the name as database.table.
func (n TableName) String() string {
	if n.Database == "" {
		return n.Table
	}
	return n.Database + "." + n.Table
}

// Key is a text that tells every two names apart, as String, with dots in names, does not.
func (n TableName) Key() string {
	if n.Database == "" {
		return n.Table
	}
	return n.Database + "\x00" + n.Table
}

// NameOfKey is the inverse of [TableName.Key].
func NameOfKey(key string) TableName {
	if database, table, ok := strings.Cut(key, "\x00"); ok {
		return TableName{database, table}
	}
	return TableName{"", key}
}
