package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ddb-project/ddb"
)

// nodeJSON is a node in the API's words.
type nodeJSON struct {
	ID           string    `json:"id"`
	Role         ddb.Role  `json:"role"`
	State        ddb.State `json:"state"`
	Reason       string    `json:"reason"`
	LSN          *ddb.LSN  `json:"lsn"`
	LagMs        *float64  `json:"lagMs"`
	Pending      *int64    `json:"pending"`
	PendingBytes int64     `json:"pendingBytes"`
	Address      string    `json:"address"`
	Since        time.Time `json:"since"`
	Maintenance  bool      `json:"maintenance"`
	Reads        uint64    `json:"reads"`
	Writes       uint64    `json:"writes"`
	Local        bool      `json:"local"`
}

type statusJSON struct {
	Epoch uint64     `json:"epoch"`
	LSN   ddb.LSN    `json:"lsn"`
	Node  string     `json:"node"`
	At    time.Time  `json:"at"`
	Nodes []nodeJSON `json:"nodes"`
}

// lagMs returns milliseconds, nil where the lag is not known.
func lagMs(d time.Duration) *float64 {
	if d == ddb.LagUnknown {
		return nil
	}
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

func makeStatus(c *ddb.Cluster, list []ddb.NodeStatus) statusJSON {
	pos := c.Position()
	st := statusJSON{Epoch: pos.Epoch, LSN: pos.LSN, Node: c.ID(), At: time.Now(), Nodes: make([]nodeJSON, 0, len(list))}
	for _, n := range list {
		j := nodeJSON{ID: n.ID, Role: n.Role, State: n.State, Reason: n.Reason, LagMs: lagMs(n.Lag),
			PendingBytes: n.PendingBytes, Address: n.Address, Since: n.Since, Maintenance: n.Maintenance,
			Reads: n.Reads, Writes: n.Writes, Local: n.Local}
		if n.Pending != ddb.PendingUnknown {
			j.LSN, j.Pending = &n.LSN, &n.Pending
		}
		st.Nodes = append(st.Nodes, j)
	}
	return st
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, makeStatus(h.c, h.c.Nodes()))
}

// point is one sample of what the page plots. Rates are per second.
type point struct {
	At      int64                `json:"at"` // unix milliseconds
	Writes  float64              `json:"writes"`
	Entries float64              `json:"entries"`
	Nodes   map[string]nodePoint `json:"nodes"`
}

type nodePoint struct {
	Reads float64  `json:"reads"`
	LagMs *float64 `json:"lagMs"`
	State string   `json:"state"`
}

// observer looks at the cluster once for all clients that follow it. Its goroutine
// owns last; the rest is for everybody.
type observer struct {
	c     *ddb.Cluster
	every time.Duration
	last  statusJSON

	mu      sync.Mutex
	status  []byte  // the newest status as JSON
	point   []byte  // the newest point as JSON
	version uint64  // of status
	points  []point // the oldest first
	count   uint64  // points made
	changed chan struct{}
}

// minInterval is the least time between two events: a burst of changes is one.
const minInterval = 100 * time.Millisecond

func newObserver(c *ddb.Cluster, every time.Duration) *observer {
	o := &observer{c: c, every: every, changed: make(chan struct{})}
	o.look(o.c.Nodes())
	o.last = makeStatus(c, c.Nodes())
	return o
}

func (o *observer) run(ctx context.Context) {
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	_, changed := o.c.Watch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			o.sample()
		case <-changed:
			changed = nil // until the pause is over
			pause.Reset(minInterval)
		case <-pause.C:
			var list []ddb.NodeStatus
			list, changed = o.c.Watch()
			o.look(list)
		}
	}
}

// look publishes the status if it differs from the last one.
func (o *observer) look(list []ddb.NodeStatus) {
	b, err := json.Marshal(makeStatus(o.c, list))
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = b
	o.version++
	o.wake()
}

// wake tells all that wait. The caller holds mu.
func (o *observer) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// sample makes a point from what has happened since the last one.
func (o *observer) sample() {
	now := makeStatus(o.c, o.c.Nodes())
	seconds := now.At.Sub(o.last.At).Seconds()
	if seconds <= 0 {
		return
	}
	rate := func(from, to uint64) float64 {
		if to < from {
			return 0 // the node has started again
		}
		return float64(to-from) / seconds
	}
	p := point{At: now.At.UnixMilli(), Entries: rate(uint64(o.last.LSN), uint64(now.LSN)), Nodes: make(map[string]nodePoint, len(now.Nodes))}
	before := make(map[string]nodeJSON, len(o.last.Nodes))
	for _, n := range o.last.Nodes {
		before[n.ID] = n
	}
	for _, n := range now.Nodes {
		was, known := before[n.ID]
		if !known {
			was = n
		}
		p.Nodes[n.ID] = nodePoint{Reads: rate(was.Reads, n.Reads), LagMs: n.LagMs, State: string(n.State)}
		p.Writes += rate(was.Writes, n.Writes)
	}
	o.last = now
	b, err := json.Marshal(p)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.points = append(o.points, p); len(o.points) > samples {
		o.points = append(o.points[:0], o.points[len(o.points)-samples:]...)
	}
	o.point = b
	o.count++
	o.wake()
}

func (h *Handler) history(w http.ResponseWriter, r *http.Request) {
	h.observer.mu.Lock()
	points := append([]point{}, h.observer.points...)
	h.observer.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"intervalMs": h.opts.Sample.Milliseconds(), "points": points})
}

// events streams the status at each change and the points of the plots, as server-sent events.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		fail(w, http.StatusServiceUnavailable, "too many clients follow the events")
		return
	}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	var version, count uint64
	for {
		o := h.observer
		o.mu.Lock()
		text := ""
		if o.version != version {
			text += "event: status\ndata: " + string(o.status) + "\n\n"
		}
		if o.count != count && o.point != nil {
			text += "event: point\ndata: " + string(o.point) + "\n\n"
		}
		version, count = o.version, o.count
		changed := o.changed
		o.mu.Unlock()
		if text != "" {
			_ = out.SetWriteDeadline(time.Now().Add(h.patience.piece))
			if _, err := fmt.Fprint(w, text); err != nil {
				return
			}
			if err := out.Flush(); err != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-h.closing:
			return
		}
	}
}
