package records

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ddb-project/ddb"
)

// Side is one column of a conflict: what it was before, what the snap wrote and what the master had.
type Side struct {
	Column              string
	Base, Local, Remote string
	Differs             bool // Local and Remote are not the same
}

// Sides lays the rows of a conflict side by side. A row that does not exist has "-" everywhere.
func Sides(c ddb.Conflict) []Side {
	names := []string{}
	base, local, remote := object(c.Base, &names), object(c.Local, &names), object(c.Remote, &names)
	var list []Side
	for _, n := range names {
		s := Side{Column: n, Base: cell(base, n), Local: cell(local, n), Remote: cell(remote, n)}
		s.Differs = s.Local != s.Remote
		list = append(list, s)
	}
	return list
}

// KeyOf tells the key of a conflict's row: "id 7".
func KeyOf(c ddb.Conflict) string {
	var names []string
	key := object(c.Key, &names)
	if key == nil {
		return c.Key
	}
	text := ""
	for i, n := range names {
		if i > 0 {
			text += ", "
		}
		text += n + " " + cell(key, n)
	}
	return text
}

// object reads a JSON object and adds the names that it has to names, in its order.
func object(text string, names *[]string) map[string]json.RawMessage {
	if text == "" {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			break
		}
		if n := fmt.Sprint(name); !slices.Contains(*names, n) {
			*names = append(*names, n)
		}
	}
	return m
}

func cell(m map[string]json.RawMessage, name string) string {
	v, ok := m[name]
	if !ok {
		return "-"
	}
	var s string
	var special map[string]string // see ddb.Conflict
	switch {
	case string(v) == "null":
		return "NULL"
	case json.Unmarshal(v, &special) == nil && len(special) == 1:
		if f, ok := special["$float"]; ok {
			return f
		}
		b, err := base64.StdEncoding.DecodeString(special["$bytes"] + special["$text"])
		if err != nil {
			break
		}
		if _, ok := special["$text"]; ok {
			return Show(string(b))
		}
		return Show(b)
	case json.Unmarshal(v, &s) == nil:
		return Show(s)
	}
	return Show(string(v))
}

// Conflicts is the part of a *ddb.Cluster that settles conflicts.
type Conflicts interface {
	Conflicts(ctx context.Context) ([]ddb.Conflict, error)
	RetryConflict(ctx context.Context, id string) error
	DismissConflict(ctx context.Context, id string) error
}

// Loser says whose values are written if the conflict is retried.
func Loser(c ddb.Conflict) string {
	if c.Outcome == "snap" {
		return "the master"
	}
	return c.Origin
}

// Standing says whose values stand.
func Standing(c ddb.Conflict) string {
	switch c.Outcome {
	case "master":
		return "the master's row stands"
	case "snap":
		return "the row of " + c.Origin + " stands"
	case "merged":
		return "both were merged"
	case "function":
		return "the program's function decided"
	case "refused":
		return "refused; the master's row stands"
	}
	return c.Outcome
}
