package link

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

type textAddr string

func (a textAddr) Network() string { return "tcp" }

func (a textAddr) String() string { return string(a) }

// Connections of one host, or of one network of IPv6, are by one; those within a process are by nobody.
func TestDoorOrigin(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:4711": "10.0.0.1", "10.0.0.1:4712": "10.0.0.1", "[::ffff:10.0.0.1]:1": "10.0.0.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:2": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "dialer of m": "", "": "",
	} {
		require.Equal(t, want, Origin(textAddr(address)), address)
	}
}

// One address takes few places, all together no more than there are, and who leaves gives his back, once.
func TestDoorPlaces(t *testing.T) {
	d := NewDoor(hclog.NewNullLogger())
	var leave []func()
	var evicted []string
	enter := func(address string) bool {
		l, ok := d.Enter(textAddr(address), func() { evicted = append(evicted, address) })
		if ok {
			leave = append(leave, l)
		}
		return ok
	}
	for i := range MaxShakesFrom {
		require.True(t, enter(fmt.Sprintf("10.0.0.1:%d", i)))
	}
	require.False(t, enter("10.0.0.1:99"))
	require.True(t, enter("10.0.0.2:1"))
	for range 2 {
		leave[0]()
	}
	require.True(t, enter("10.0.0.1:100"))
	require.False(t, enter("10.0.0.1:101"))
	for i := len(leave) - 1; i < MaxShakes; i++ {
		require.True(t, enter("dialer of m"))
	}
	require.False(t, enter("dialer of m"))
	require.False(t, enter("10.0.0.2:2"), "an address that has a place already")
	require.Empty(t, evicted)
	for i := range MaxShakesFrom - 1 { // who takes the most makes room, the oldest first, and keeps one
		require.True(t, enter(fmt.Sprintf("10.0.1.%d:1", i)))
		require.Len(t, evicted, i+1)
	}
	require.Equal(t, "10.0.0.1:1", evicted[0])
	require.False(t, enter("10.0.0.3:1"), "nobody has more than one")
	require.Equal(t, MaxShakes, d.shaking)
	for _, l := range leave {
		l()
	}
	require.Zero(t, d.shaking)
	require.Empty(t, d.from)
}

// The log has a line a minute about each, with a count, however many there are.
func TestDoorLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		d := NewDoor(hclog.New(&hclog.LoggerOptions{Output: &b}))
		lines := func() int { return strings.Count(b.String(), "\n") }
		for range 100 {
			d.Warn("10.0.0.1", "turned away")
			d.Warn("10.0.0.2", "turned away")
		}
		require.Equal(t, 2, lines())
		time.Sleep(tellEvery)
		d.Warn("10.0.0.1", "turned away")
		require.Equal(t, 3, lines())
		require.Contains(t, b.String(), "times_since_told=99")
		for i := range 10 * maxTold {
			d.Warn(fmt.Sprint("10.1.", i), "turned away")
		}
		require.LessOrEqual(t, lines(), 3+maxTold)
		require.LessOrEqual(t, len(d.told), maxTold+1)
	})
}
