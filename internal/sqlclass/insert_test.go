package sqlclass

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The table and the RETURNING list of an insert are found wherever they stand, or the text is not certain.
func TestInserts(t *testing.T) {
	for text, want := range map[string]Insert{
		"INSERT INTO t VALUES (1)": {Table: "t"},
		"-- INTO x\nINSERT OR IGNORE INTO main.[a b] (v) VALUES (?) /* end */ ;":                             {Database: "main", Table: "a b"},
		`WITH x AS (INSERT INTO y), z AS (SELECT 1) REPLACE INTO "it""s" SELECT * FROM x RETURNING * -- end`: {Table: `it"s`, Returning: "*", End: 91, Repeatable: true},
		"insert into t as r(v) values ('returning') returning id as k, v || ';' ;":                           {Table: "t", Returning: "id as k, v || ';'", End: 70, Repeatable: true},
		"INSERT INTO t DEFAULT VALUES RETURNING ?1":                                                          {Table: "t", Returning: "?1", End: 41},
		"INSERT INTO t DEFAULT VALUES RETURNING (SELECT 1)":                                                  {Table: "t", Returning: "(SELECT 1)", End: 49},
		"INSERT INTO t DEFAULT VALUES RETURNING last_insert_rowid()":                                         {Table: "t", Returning: "last_insert_rowid()", End: 58},
	} {
		list, several, ok := Inserts(text)
		require.Equal(t, []Insert{want}, list, text)
		require.True(t, ok && !several, text)
	}
	list, several, ok := Inserts("INSERT INTO a VALUES (1); UPDATE c SET x = 1; INSERT INTO b VALUES (1) RETURNING k")
	require.Equal(t, []Insert{{Table: "a"}, {Table: "b", Returning: "k", End: 82, Repeatable: true}}, list)
	require.True(t, ok && several)
	for _, text := range []string{"INSERT INTO t VALUES (1) /* no end", "INSERT t VALUES (1)", "INSERT INTO t DEFAULT VALUES RETURNING", "INSERT INTO t VALUES ('"} {
		_, _, ok := Inserts(text)
		require.False(t, ok, text)
	}
	list, several, ok = Inserts("DELETE FROM t RETURNING id")
	require.True(t, ok && !several && list == nil)
}

// A trigger's event is found, and whether it looks at the key of a row that is new.
func TestParseTrigger(t *testing.T) {
	insert := func(tr Trigger) Trigger { tr.After, tr.Verb = true, "INSERT"; return tr }
	for text, want := range map[string]Trigger{
		"CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.id); END":                                        insert(Trigger{Key: true}),
		"CREATE TRIGGER a AFTER INSERT ON t WHEN new.\"ID\" > 1 BEGIN SELECT 1; END":                                           insert(Trigger{Key: true}),
		"CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT NEW /* x */ . _rowid_; END":                                           insert(Trigger{Key: true}),
		"CREATE TRIGGER a AFTER INSERT ON t BEGIN REPLACE INTO l SELECT last_insert_rowid(); END":                              insert(Trigger{Last: true}),
		"CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO [l g] VALUES (1); INSERT INTO l SELECT last_insert_rowid(); END": insert(Trigger{Last: true, Told: []string{"l g"}}),
		"CREATE TRIGGER after AFTER INSERT ON t BEGIN UPDATE n SET id = 'NEW.id' || NEW.v; END":                                insert(Trigger{}),
		"CREATE TRIGGER main.[after] INSERT ON t BEGIN SELECT NEW.id; END":                                                     {Verb: "INSERT", Key: true},
		"CREATE TRIGGER IF NOT EXISTS a AFTER UPDATE OF id ON t BEGIN SELECT OLD.id; END":                                      {After: true, Verb: "UPDATE"},
	} {
		got := ParseTrigger(text, "id")
		require.ElementsMatch(t, want.Told, got.Told, text)
		got.Told = want.Told
		require.Equal(t, want, got, text)
	}
}
