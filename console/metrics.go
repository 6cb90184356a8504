package console

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ddb-project/ddb"
)

// collector makes Prometheus' metrics of the cluster's state at the moment of the scrape. It keeps nothing.
type collector struct {
	c                                                       *ddb.Cluster
	epoch, lsn, up, state, nodeLSN, lag, pending, pendBytes *prometheus.Desc
	pendAge, maintenance, reads, writes                     *prometheus.Desc
	open, inUse, waits                                      *prometheus.Desc
}

// states are all that a node can be in, so that each has a series of its own.
var states = []ddb.State{ddb.Joining, ddb.Syncing, ddb.Active, ddb.Lagging, ddb.Inactive, ddb.Failed}

// newMetrics serves a registry of the console's own, so that it never meets the program's.
func newMetrics(c *ddb.Cluster) http.Handler {
	node := []string{"id", "role"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ddb_"+name, help, labels, nil)
	}
	col := &collector{
		c:           c,
		epoch:       desc("epoch", "Epoch of this node's journal."),
		lsn:         desc("lsn", "Last entry of this node's journal."),
		up:          desc("node_readable", "1 if reads are sent to the node.", node...),
		state:       desc("node_state", "1 for the state that the node is in.", "id", "role", "state"),
		nodeLSN:     desc("node_lsn", "Last entry that the node has durably. Absent if unknown.", node...),
		lag:         desc("node_lag_seconds", "Age of the oldest entry that the node lacks. Absent if unknown.", node...),
		pending:     desc("node_pending_entries", "Entries that wait for the node. Absent if unknown.", node...),
		pendBytes:   desc("node_pending_bytes", "Bytes that wait for the node.", node...),
		pendAge:     desc("node_pending_age_seconds", "Age of the oldest of what waits for the node.", node...),
		maintenance: desc("node_maintenance", "1 if a person has taken the node out.", node...),
		reads:       desc("node_reads_total", "Reads that this process has sent to the node.", node...),
		writes:      desc("node_writes_total", "Writes that this process has sent to the node.", node...),
		open:        desc("pool_open_connections", "Open connections to the local database."),
		inUse:       desc("pool_in_use_connections", "Connections to the local database in use."),
		waits:       desc("pool_wait_seconds_total", "Time spent waiting for a connection to the local database."),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(col, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 8})
}

// Describe sends nothing: the series depend on the nodes there are.
func (m *collector) Describe(chan<- *prometheus.Desc) {}

func (m *collector) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { send(d, prometheus.GaugeValue, v, labels...) }
	pos := m.c.Position()
	gauge(m.epoch, float64(pos.Epoch))
	gauge(m.lsn, float64(pos.LSN))
	seen := make(map[string]bool)
	for _, n := range m.c.Nodes() {
		if seen[n.ID] {
			continue
		}
		seen[n.ID] = true
		id, role := n.ID, string(n.Role)
		for _, s := range states {
			gauge(m.state, truth(n.State == s), id, role, string(s))
		}
		gauge(m.up, truth(readable(n, -1)), id, role)
		if n.Pending != ddb.PendingUnknown {
			gauge(m.nodeLSN, float64(n.LSN), id, role)
			gauge(m.pending, float64(n.Pending), id, role)
		}
		if n.Lag != ddb.LagUnknown {
			gauge(m.lag, n.Lag.Seconds(), id, role)
		}
		gauge(m.pendBytes, float64(n.PendingBytes), id, role)
		gauge(m.pendAge, n.PendingAge.Seconds(), id, role)
		gauge(m.maintenance, truth(n.Maintenance), id, role)
		send(m.reads, prometheus.CounterValue, float64(n.Reads), id, role)
		send(m.writes, prometheus.CounterValue, float64(n.Writes), id, role)
	}
	stats := m.c.Stats()
	gauge(m.open, float64(stats.OpenConnections))
	gauge(m.inUse, float64(stats.InUse))
	send(m.waits, prometheus.CounterValue, stats.WaitDuration.Seconds())
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
