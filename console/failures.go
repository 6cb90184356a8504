package console

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Limits of wrong tokens.
const (
	maxFailures  = 30          // of one address per failureSpan, before its tokens are refused unread for the rest of it
	failureSpan  = time.Minute // also how often failures are logged
	maxAddresses = 10_000      // remembered; beyond it another makes room
)

// failures counts wrong tokens by the address that sends them, in spans of a minute, so that tokens cannot be guessed quickly
// and nobody is locked out for what others send. It is bounded whatever is sent.
type failures struct {
	log hclog.Logger

	mu     sync.Mutex
	count  map[netip.Prefix]int // in this span
	total  int
	until  time.Time   // the end of this span
	report *time.Timer // tells of this span when it ends; nil while there is nothing to tell
}

// source is what counts as one address: whoever has an IPv6 address has 2^64 of them.
// Headers such as X-Forwarded-For do not count, as anybody can send them.
func source(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{} // not by TCP: all such are one
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// wait returns how long the address must wait before a token of its is looked at; 0 for not at all.
func (f *failures) wait(from netip.Prefix) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[from] < maxFailures {
		return 0
	}
	return max(time.Until(f.until), 0)
}

// add counts a wrong token.
func (f *failures) add(from netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); !now.Before(f.until) {
		f.tell()
		f.count, f.until = make(map[netip.Prefix]int), now.Add(failureSpan)
		f.report = time.AfterFunc(failureSpan, f.over)
	}
	if _, known := f.count[from]; !known && len(f.count) >= maxAddresses {
		for other := range f.count {
			delete(f.count, other)
			break
		}
	}
	f.count[from]++
	f.total++
}

// over is called when a span ends, unless another has begun by then.
func (f *failures) over() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !time.Now().Before(f.until) {
		f.tell()
	}
}

// end tells of the failures so far and forgets them.
func (f *failures) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell()
}

// tell logs one line. The caller holds mu.
func (f *failures) tell() {
	if f.report == nil {
		return
	}
	f.report.Stop()
	most := netip.Prefix{}
	for from, n := range f.count {
		if n > f.count[most] {
			most = from
		}
	}
	f.log.Warn("wrong tokens were sent", "count", f.total, "addresses", len(f.count), "most", most.String(), "of them", f.count[most])
	f.count, f.total, f.report, f.until = nil, 0, nil, time.Time{}
}

// tooMany answers a request whose address has sent too many wrong tokens, and reports whether it has.
func (h *Handler) tooMany(w http.ResponseWriter, r *http.Request) bool {
	wait := h.failures.wait(source(r))
	if wait == 0 {
		return false
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	fail(w, http.StatusTooManyRequests, "too many wrong tokens came from this address; try again in "+strconv.Itoa(seconds)+" seconds")
	return true
}
