package dialect

// Answers puts what a query has found for keys into their order, with the keys for which it has found nothing between,
// as Lookup promises it.
type Answers struct {
	Keys [][]any
	Emit func(Row) error
	next int
}

// Found emits the row of the key with that index, behind those of the keys before it. Indexes must rise.
func (a *Answers) Found(i int, r Row) error {
	if err := a.absent(i); err != nil {
		return err
	}
	a.next = i + 1
	return a.Emit(r)
}

// End emits the keys that are left.
func (a *Answers) End() error { return a.absent(len(a.Keys)) }

func (a *Answers) absent(until int) error {
	for ; a.next < until; a.next++ {
		if err := a.Emit(Row{Key: a.Keys[a.next]}); err != nil {
			return err
		}
	}
	return nil
}
