package mysql

// rowReader splits the columns of a query into key, presence, values and base.
type rowReader struct {
	t     *table
	exprs []string
	cells []any
}

func (r *rowReader) add(expr string, c column) {
	r.exprs = append(r.exprs, expr)
	r.cells = append(r.cells, c.newCell())
}

// stored adds the table's columns under an alias and returns where they begin.
func (r *rowReader) stored(alias string) int {
	at := len(r.cells)
	for _, c := range r.t.stored {
		r.add(c.selectAs(alias), c)
	}
	return at
}
