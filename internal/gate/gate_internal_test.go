package gate

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/journal"
)

// unconfirmed are replicas that confirm nothing. They tell of the wait what they are asked with.
type unconfirmed struct{}

func (unconfirmed) Confirmed(ctx context.Context, _ journal.LSN, _ int) error {
	return errors.Join(fault.ErrNotConfirmed, errors.New("in an entry"), ctx.Err())
}

func (unconfirmed) NotConfirmed(ctx context.Context, what string) error {
	return errors.Join(fault.ErrNotConfirmed, errors.New(what), ctx.Err())
}

// A wait for the entry of a write that ends with the caller's context says so, and that the write stands.
func TestWroteTellsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := &Gate{config: Config{WaitReplicas: 1, WaitTimeout: time.Minute}, route: new(route.Router), master: Master{Sequencer: sequence.New(nil), Replicas: unconfirmed{}}}
	err := g.wrote(ctx)
	require.ErrorIs(t, err, fault.ErrNotConfirmed)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "durable on the master but in no entry")
}

// Close waits for open transactions, and ends those that do not end soon.
func TestOpenTxs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOpenTxs()
		_, ended := o.begin(t.Context())
		stuck, ended2 := o.begin(t.Context())
		defer ended2()
		time.AfterFunc(time.Second, ended)
		start := time.Now()
		o.wait()
		require.Equal(t, endTimeout, time.Since(start))
		synctest.Wait()
		require.ErrorIs(t, closedUnder(stuck, sql.ErrTxDone), fault.ErrClosed)
	})
	synctest.Test(t, func(t *testing.T) {
		o := newOpenTxs()
		ctx, ended := o.begin(t.Context())
		time.AfterFunc(time.Second, ended)
		start := time.Now()
		o.wait()
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, closedUnder(ctx, nil))
		late, ended := o.begin(t.Context())
		synctest.Wait()
		require.ErrorIs(t, context.Cause(late), fault.ErrClosed)
		ended()
	})
}
