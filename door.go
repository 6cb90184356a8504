package ddb

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of what those may take who have not shown who they are.
const (
	maxShakes     = 64          // handshakes at once
	maxShakesFrom = 8           // of one address
	tellEvery     = time.Minute // between two lines in the log about the same
	maxTold       = 256         // that are told apart for it
)

// door lets strangers in as far as the handshake, and keeps them from filling the log.
type door struct {
	log hclog.Logger

	mu      sync.Mutex // guards what follows
	shaking int
	from    map[string]int     // handshakes by address
	told    map[string]*unsaid // by who it is about
}

// unsaid is what the log has not been told since the last line.
type unsaid struct {
	since time.Time
	more  int
}

func newDoor(log hclog.Logger) *door {
	return &door{log: log, from: make(map[string]int), told: make(map[string]*unsaid)}
}

// enter takes a place for a handshake, which leave gives back; false if there is none for that address.
func (d *door) enter(address net.Addr) (leave func(), ok bool) {
	from := origin(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shaking >= maxShakes || from != "" && d.from[from] >= maxShakesFrom {
		return nil, false
	}
	d.shaking++
	d.from[from]++
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.shaking--
		if d.from[from]--; d.from[from] == 0 {
			delete(d.from, from)
		}
	}), true
}

// origin names the one whom connections from an address are by: a host, with IPv6 a network, of which one machine has as
// many addresses as it likes. Empty: within the process.
func origin(address net.Addr) string {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return ""
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() {
		network, _ := ip.Prefix(64) // 64 is within its length
		return network.String()
	}
	return ip.String()
}

// warn logs what happened to who, once a minute, with how often it happened since the last line.
func (d *door) warn(who, message string, args ...any) {
	d.mu.Lock()
	now := time.Now()
	u := d.told[who]
	if u == nil {
		if len(d.told) >= maxTold {
			for key, u := range d.told {
				if now.Sub(u.since) >= tellEvery {
					delete(d.told, key)
				}
			}
		}
		if len(d.told) >= maxTold {
			who = "" // all others together
		}
		if u = d.told[who]; u == nil {
			u = new(unsaid)
			d.told[who] = u
		}
	}
	if now.Sub(u.since) < tellEvery {
		u.more++
		d.mu.Unlock()
		return
	}
	if u.more > 0 {
		args = append(args, "times_since_told", u.more)
	}
	u.since, u.more = now, 0
	d.mu.Unlock()
	d.log.Warn(message, args...)
}
