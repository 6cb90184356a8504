package ddb

// Rights say what the statements that another node sends to the master may do there. They are checked where a statement
// runs, whatever the node that sends it thinks of it. Combine them with |.
type Rights uint8

// The rights of a node's statements on the master.
const (
	// ReadRows is to read the program's tables and views.
	ReadRows Rights = 1 << iota
	// ChangeRows is to insert, update and delete rows of the program's tables.
	ChangeRows
	// ChangeSchema is to create, alter and drop what belongs to the program's databases.
	ChangeSchema
	// Administer is what concerns the server or the file rather than the program's rows: accounts, settings of a server,
	// PRAGMA, ATTACH, files.
	Administer
	// NoRights takes all away where 0 would mean the role's default.
	NoRights Rights = 0x80
)

// Nobody has the right to write to ddb's own tables: nodes would differ for ever.

// roleRights are a node's rights where Options.Nodes says nothing: a replica forwards its program's
// reads and changes of rows, a snap sends batches, which need no statements.
func roleRights(r Role) Rights {
	if r == Replica {
		return ReadRows | ChangeRows
	}
	return NoRights
}

// access returns what the master's options say of a node; ok is false if it is not to come in.
func (o Options) access(id string) (a NodeAccess, ok bool) {
	if o.Nodes == nil {
		return NodeAccess{}, true
	}
	if a, ok = o.Nodes[id]; !ok {
		a, ok = o.Nodes[""]
	}
	return a, ok
}

// mayWrite reports whether a snap's batches may do that to the table. Who is not let in any more may do nothing.
func (o Options) mayWrite(snap string, n tableName, op Ops) bool {
	a, ok := o.access(snap)
	return ok && a.allows(n, op)
}

// rights returns what the node's statements may do on this master.
func (o Options) rights(id string, r Role) Rights {
	a, ok := o.access(id)
	switch {
	case !ok:
		return NoRights
	case a.SQL != 0:
		return a.SQL
	}
	return roleRights(r)
}
