package conflict

import (
	"fmt"
	"strings"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/journal"
)

// Policy says what becomes of a row that a snap has changed when the master's row is no
// longer the one that the snap had seen. It is set per table in Options.Conflicts of the master.
type Policy struct {
	name    string
	resolve func(Collision) (map[string]any, error)
}

// The policies. Whatever loses is kept in the conflicts table; see [Cluster.Conflicts].
// Under each, a snap's whole transaction is refused where a constraint refuses it, or where a
// foreign key would take along rows that the snap did not have.
//
// NewestWins compares when the two changes were made, by hybrid logical clocks; at a
// tie the node whose id is greater wins. A snap's clock that is off is put right by what its
// clock shows when it hands the batch over, and no change counts as later than
// its arrival, nor as earlier than the last entry that the snap had seen, so a wrong clock gains nothing and loses to
// nothing that it followed. The time of a change made on the
// master, or on a snap that is gone from the master's memory, is that of its entry.
var (
	// MasterWins refuses the snap's whole transaction if one of its rows conflicts. The zero Policy is this one.
	MasterWins = Policy{name: "master wins"}
	// SnapWins writes the snap's row.
	SnapWins = Policy{name: "snap wins"}
	// NewestWins writes the row that was changed last.
	NewestWins = Policy{name: "newest wins"}
	// MergeColumns takes each column from the side that changed it. Where both did, or one
	// side deleted the row, the master's stands.
	MergeColumns = Policy{name: "merge columns"}
)

// Collision is what a [PolicyFunc] decides on. Rows map column names to
// values as package dialect describes them; a nil row does not exist.
type Collision struct {
	Database, Table     string
	Base, Local, Remote map[string]any // as the snap had seen it, as the snap wrote it, as it is on the master
	Origin              string         // id of the snap
	At                  time.Time      // when the snap wrote it
}

// PolicyFunc returns a policy that asks resolve which row to store: all columns, or nil to
// delete it. The key columns must stay as they are. An error, or a panic, refuses the snap's whole transaction and
// becomes the reason. It is called within the master's transaction: it must be quick and must not use the Cluster.
func PolicyFunc(name string, resolve func(Collision) (map[string]any, error)) Policy {
	return Policy{name: name, resolve: resolve}
}

// ParsePolicy returns the policy of that name: "master", "snap", "newest" or "merge".
func ParsePolicy(name string) (Policy, error) {
	for _, p := range []Policy{MasterWins, SnapWins, NewestWins, MergeColumns} {
		if first, _, _ := strings.Cut(p.name, " "); first == name || p.name == name {
			return p, nil
		}
	}
	return Policy{}, fmt.Errorf("%w: policy %q is none of master, snap, newest, merge", fault.ErrOptions, name)
}

// String returns the policy's name.
func (p Policy) String() string {
	if p.name == "" {
		return MasterWins.name
	}
	return p.name
}

// Is reports whether it is the policy o, one of those that have a name of ours.
func (p Policy) Is(o Policy) bool { return p.resolve == nil && p.String() == o.name }

// Asks reports whether the policy was made by [PolicyFunc].
func (p Policy) Asks() bool { return p.resolve != nil }

// Resolve runs the program's function. A panic of its is an error: it must not end in the middle of the master's transaction.
func (p Policy) Resolve(c Collision) (row map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			row, err = nil, fmt.Errorf("it panicked: %v", r)
		}
	}()
	return p.resolve(c)
}

// Policies are those of tables, by "table" or "database.table"; "" is for all others.
type Policies map[string]Policy

// Of returns the policy of a table: [MasterWins] where nothing is said.
func (p Policies) Of(n journal.TableName) Policy {
	for _, key := range []string{n.String(), n.Table, ""} {
		if policy, ok := p[key]; ok {
			return policy
		}
	}
	return MasterWins
}
