package memory

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Memory that is held ends the work; garbage does not.
func TestWatch(t *testing.T) {
	defer goleak.VerifyNone(t)
	const pieceBytes = 2 << 20 // few of them at once, as the race detector holds a multiple of it beside
	ctx, stop := Watch(t.Context(), 64<<20)
	defer stop()
	var held []byte
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		held = make([]byte, pieceBytes)
		for i := 0; i < len(held); i += 4096 {
			held[i] = 1
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("garbage has ended it: %v", context.Cause(ctx))
	}
	var all [][]byte
	for ctx.Err() == nil && len(all) < 2000 { // 4 GiB would be far too late
		piece := make([]byte, pieceBytes)
		for i := 0; i < len(piece); i += 4096 {
			piece[i] = 1
		}
		all = append(all, piece)
	}
	if !errors.Is(context.Cause(ctx), ErrGrown) {
		t.Fatalf("%d pieces of 2 MiB have not ended it: %v", len(all), context.Cause(ctx))
	}
	if len(all) > 500 {
		t.Errorf("1 GiB has passed before it ended")
	}
	runtime.KeepAlive(held)
	runtime.KeepAlive(all)
}
