package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ddb-project/ddb/internal/fault"
)

// openTxs are the transactions that the program has open on a node. Close lets them end first, while they can still be
// confirmed by replicas.
type openTxs struct {
	over   context.Context // ends with those that have not ended by themselves
	cancel context.CancelCauseFunc
	mu     sync.Mutex // guards what follows
	open   int
	none   chan struct{} // while somebody waits for the last to end
}

func newOpenTxs() *openTxs {
	o := new(openTxs)
	o.over, o.cancel = context.WithCancelCause(context.Background())
	return o
}

// begin counts a transaction until ended is called. What it returns ends, and the transaction with it, when the node cannot
// wait for it any longer.
func (o *openTxs) begin(ctx context.Context) (_ context.Context, ended func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(o.over, func() { cancel(fault.ErrClosed) })
	o.mu.Lock()
	o.open++
	o.mu.Unlock()
	return ctx, sync.OnceFunc(func() {
		stop()
		cancel(nil)
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.open--; o.open == 0 && o.none != nil {
			close(o.none)
			o.none = nil
		}
	})
}

// wait waits for the transactions to end, and rolls those back that do not end soon.
func (o *openTxs) wait() {
	o.mu.Lock()
	none := make(chan struct{})
	if o.open > 0 {
		o.none = none
	} else {
		close(none)
	}
	o.mu.Unlock()
	grace := time.NewTimer(endTimeout)
	defer grace.Stop()
	select {
	case <-none:
	case <-grace.C:
	}
	o.cancel(fault.ErrClosed)
}

// closedUnder says so where a transaction has failed because the node was closed.
func closedUnder(ctx context.Context, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), fault.ErrClosed) {
		return err
	}
	return errors.Join(fault.ErrClosed, err)
}
