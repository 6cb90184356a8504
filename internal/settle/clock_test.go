package settle

import (
	"testing"
	"time"

	"github.com/ddb-project/ddb/internal/batch"
	"github.com/stretchr/testify/require"
)

// A snap's clock that is years off shifts its times by what it is off, and none is later than the master's.
func TestClockYearsOff(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, off := range []time.Duration{0, time.Second, -time.Second, 20 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour} {
		snapNow := now.Add(off)
		made := snapNow.Add(-time.Minute)
		at := time.Unix(0, corrected(made.UnixNano(), snapNow.UnixNano(), now.UnixNano()))
		require.WithinDuration(t, now.Add(-time.Minute), at, time.Duration(batch.ClockSkew), "a clock that is off by %v", off)
	}
	// It was set right between the write and the exchange.
	ahead := now.Add(20 * 365 * 24 * time.Hour)
	require.Equal(t, now.UnixNano(), corrected(ahead.UnixNano(), now.UnixNano(), now.UnixNano()))
}

// A new master's clock hears the entries of the one before it, but not those of one whose clock was years ahead.
func TestClockOfNewMaster(t *testing.T) {
	now := time.Now().UnixNano()
	for ahead, want := range map[time.Duration]int64{-time.Hour: now, 2 * time.Second: now + int64(2*time.Second) + 1, 20 * 365 * 24 * time.Hour: now} {
		m := &Settler{cfg: Config{Heard: now + int64(ahead)}}
		require.Equal(t, want, m.clock(now), "ahead by %v", ahead)
	}
}
