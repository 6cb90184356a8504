package link

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of what those may take who have not shown who they are.
const (
	MaxShakes     = 64          // handshakes at once
	MaxShakesFrom = 8           // of one address
	tellEvery     = time.Minute // between two lines in the log about the same
	maxTold       = 256         // that are told apart for it
)

// Door lets strangers in as far as the handshake, and keeps them from filling the log.
type Door struct {
	log hclog.Logger

	mu      sync.Mutex // guards what follows
	shaking int
	from    map[string][]*place // handshakes by address, the oldest first
	told    map[string]*unsaid  // by who it is about
}

// unsaid is what the log has not been told since the last line.
type unsaid struct {
	since time.Time
	more  int
}

// NewDoor returns a door through which nobody has come yet.
func NewDoor(log hclog.Logger) *Door {
	return &Door{log: log, from: make(map[string][]*place), told: make(map[string]*unsaid)}
}

// place is one handshake's.
type place struct {
	evict func() // ends the handshake
	freed bool
}

// Enter takes a place for a handshake, which leave gives back; false if there is none for that address. When all are taken, one whose
// address has none gets that of the oldest handshake of the address that has the most, which is ended by its
// evict: a few hosts that connect and say nothing keep nobody else out. Who connects within the process is not ended.
func (d *Door) Enter(address net.Addr, evict func()) (leave func(), ok bool) {
	from := Origin(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if from != "" && len(d.from[from]) >= MaxShakesFrom || d.shaking >= MaxShakes && !d.makeRoom(from) {
		return nil, false
	}
	p := &place{evict: evict}
	d.shaking++
	d.from[from] = append(d.from[from], p)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free(from, p)
	}, true
}

// Taken returns how many handshakes of the address are under way.
func (d *Door) Taken(from string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.from[from])
}

// makeRoom ends a handshake for the sake of one from an address that has none. The caller holds mu.
func (d *Door) makeRoom(newcomer string) bool {
	most := ""
	for from, list := range d.from {
		if from != "" && (most == "" || len(list) > len(d.from[most])) {
			most = from
		}
	}
	if most == "" || newcomer == "" || len(d.from[newcomer]) > 0 || len(d.from[most]) < 2 {
		return false
	}
	oldest := d.from[most][0]
	d.free(most, oldest)
	oldest.evict()
	return true
}

// free gives a place back, once. The caller holds mu.
func (d *Door) free(from string, p *place) {
	if p.freed {
		return
	}
	p.freed = true
	d.shaking--
	d.from[from] = slices.DeleteFunc(d.from[from], func(o *place) bool { return o == p })
	if len(d.from[from]) == 0 {
		delete(d.from, from)
	}
}

// Origin names the one whom connections from an address are by: a host, with IPv6 a network, of which one machine has as
// many addresses as it likes. Empty: within the process.
func Origin(address net.Addr) string {
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

// Warn logs what happened to who, once a minute, with how often it happened since the last line.
func (d *Door) Warn(who, message string, args ...any) {
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
