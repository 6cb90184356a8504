package ddb

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb/access"
	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/store"
	"github.com/ddb-project/ddb/transport"
)

// Options configure a node. The zero value makes a master that has no followers.
type Options struct {
	// ID names the node in its cluster, at most 64 letters, digits, '-', '_' or '.'.
	// Default "master" for a master; required for others.
	ID string
	// Role is Master (default), Replica or Snap.
	Role Role
	// Dialect speaks to the database. Default: found from the driver of the *sql.DB, among those that the program
	// imports: ddb/dialect/sqlite for modernc.org/sqlite, ddb/dialect/mysql for github.com/go-sql-driver/mysql.
	Dialect dialect.Dialect
	// Databases names the databases to replicate on MariaDB. Default: the connection's.
	Databases []string
	// Transport carries the bytes between nodes, for example tcp.New(tcp.Options{}).
	// Required when Listen or Master is set.
	Transport transport.Transport
	// Listen is where a master accepts followers. Empty: it accepts none.
	Listen string
	// Master is the address of the master. Required on a replica and a snap.
	Master string
	// Key is the secret shared by the nodes of the cluster: a follower and its master prove to each other that they
	// hold it. On a master empty: anyone who reaches the listener may follow. On a follower empty: it
	// follows whoever answers. A node's own key, as in Nodes, goes here on that node.
	// Give at least 16 bytes that nobody can guess, for example of "openssl rand -hex 32". See [Cluster.SetAccess].
	Key []byte
	// OldKey is accepted and proved too, while Key is being replaced.
	OldKey []byte
	// Nodes lists the nodes that a master lets in, by id; "" stands for every other one. Nil: any node that proves Key.
	Nodes map[string]access.Node
	// AllowInsecure lets a master listen where others than this machine can connect (see [transport.Exposure]) although somebody
	// may come in without proving a key. It logs a warning. Without it Open returns ErrOptions there.
	AllowInsecure bool
	// Rejoin lets a follower whose history has forked, or which belonged to another
	// cluster, replace all its data by a new snapshot. Its own unshipped changes are lost; a snap keeps what waits in
	// its queue, and if its database is a copy of another's, sends it as new batches.
	Rejoin bool

	// WaitReplicas makes a write return only when so many replicas have it durably. Default 0.
	WaitReplicas int
	// WaitTimeout limits that wait, after which a write returns ErrNotConfirmed. Default 5 s.
	WaitTimeout time.Duration
	// Consistency of reads whose context says nothing. Default Session.
	Consistency Consistency
	// Picker spreads the reads. Default RoundRobin.
	Picker Picker
	// PreferLocal sends reads to the node of this process whenever it qualifies.
	// Default true on replicas and snaps.
	PreferLocal *bool
	// MaxLag is the lag beyond which a replica gets no reads. Default 10 s.
	MaxLag time.Duration
	// Floor is how many replicas go on serving reads although they lag when fewer
	// are active, so that the master is not stampeded. Negative: none. Default 1.
	Floor int
	// Heartbeat is the interval of heartbeats; a node silent for three is inactive. Default 1 s.
	Heartbeat time.Duration
	// PollInterval is how often a master looks for changes made by clients that
	// bypass ddb. Default 20 ms. Changes made through ddb are not waited for.
	PollInterval time.Duration
	// BusyTimeout is how long a write waits for another transaction on a
	// single-writer database (SQLite) before ErrBusy. Default 10 s.
	BusyTimeout time.Duration
	// JournalMaxBytes and JournalMaxAge limit what a master keeps for followers that
	// are away. Defaults 1 GiB and 7 days. What a connected follower still needs is kept.
	JournalMaxBytes int64
	JournalMaxAge   time.Duration
	// Journal replaces the table in the node's own database.
	Journal Journal
	// Queue makes the pending queue of each follower on a master. Default [NewPendingQueue].
	Queue QueueFunc
	// HealthChecker is asked once per Heartbeat about the node's own database, beside what ddb
	// finds out by itself. While it gives an error or an unknown lag the node is inactive, while its lag is beyond
	// MaxLag lagging, and gets reads accordingly; a master goes on taking the writes. Default: none is asked. The
	// members of a Cluster made by [Wrap] have nothing else.
	HealthChecker HealthChecker

	// Conflicts settles conflicts between snaps and the master, per table
	// ("table" or "database.table"); "" is the default for the others. Default MasterWins.
	Conflicts map[string]Policy
	// QueueMaxBatches, QueueMaxBytes and QueueMaxAge limit a snap's pending queue;
	// the age counts from its oldest batch, or from the last entry of the master's if that came later.
	// At 80 % it warns, when full local writes fail with ErrQueueFull. Defaults 100,000, 256 MiB and 30 days.
	QueueMaxBatches int64
	QueueMaxBytes   int64
	QueueMaxAge     time.Duration

	// Logger receives one line per event that a person must know. Default: none.
	Logger hclog.Logger
	// OnHealth, if set, is called with each change of a node's state, in order and one at a time. If it
	// takes so long that more than 1024 changes wait for it, the oldest of them are left out. Close waits for it,
	// so it must not call Close.
	OnHealth func(NodeStatus)
	// OnProgress, if set, is called while a follower takes a snapshot, at most 10 times a second.
	OnProgress func(Progress)
}

// withDefaults returns a copy with every default filled in, or an error that names the option.
func (o Options) withDefaults() (Options, error) {
	if o.Role == "" {
		o.Role = Master
	}
	if o.ID == "" && o.Role == Master {
		o.ID = "master"
	}
	if err := link.CheckID(o.ID); err != nil {
		return o, err
	}
	switch o.Role {
	case Master:
		if o.Master != "" {
			return o, fmt.Errorf("%w: Master is %q, but the Role is master; set Role to Replica or Snap, or leave Master empty", ErrOptions, o.Master)
		}
	case Replica, Snap:
		if o.Master == "" {
			return o, fmt.Errorf("%w: a %s needs Master, the address of its master", ErrOptions, o.Role)
		}
		if o.Listen != "" {
			return o, fmt.Errorf("%w: Listen is for a master; a %s only connects to one", ErrOptions, o.Role)
		}
	default:
		return o, fmt.Errorf("%w: Role %q is none of master, replica, snap", ErrOptions, o.Role)
	}
	if o.Transport == nil && (o.Listen != "" || o.Master != "") {
		return o, fmt.Errorf("%w: Listen or Master is set but Transport is not; use for example tcp.New(tcp.Options{})", ErrOptions)
	}
	if o.WaitReplicas < 0 {
		return o, fmt.Errorf("%w: WaitReplicas is %d", ErrOptions, o.WaitReplicas)
	}
	if o.PreferLocal == nil {
		prefer := o.Role != Master
		o.PreferLocal = &prefer
	}
	if o.Picker == nil {
		o.Picker = RoundRobin()
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Floor == 0 {
		o.Floor = 1
	}
	if err := errors.Join(o.checkLimits(), o.checkAccess(o.access())); err != nil {
		return o, err
	}
	setDefault(&o.WaitTimeout, 5*time.Second)
	setDefault(&o.MaxLag, 10*time.Second)
	setDefault(&o.Heartbeat, time.Second)
	setDefault(&o.PollInterval, 20*time.Millisecond)
	setDefault(&o.BusyTimeout, 10*time.Second)
	setDefault(&o.JournalMaxBytes, 1<<30)
	setDefault(&o.JournalMaxAge, 7*24*time.Hour)
	setDefault(&o.QueueMaxBatches, 100_000)
	setDefault(&o.QueueMaxBytes, 256<<20)
	setDefault(&o.QueueMaxAge, 30*24*time.Hour)
	return o, nil
}

// checkLimits refuses what is less than nothing.
func (o *Options) checkLimits() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"WaitTimeout", o.WaitTimeout}, {"MaxLag", o.MaxLag}, {"Heartbeat", o.Heartbeat}, {"PollInterval", o.PollInterval},
		{"BusyTimeout", o.BusyTimeout}, {"JournalMaxAge", o.JournalMaxAge}, {"QueueMaxAge", o.QueueMaxAge},
	} {
		if d.value < 0 {
			return fmt.Errorf("%w: %s is %v; give a positive duration, or 0 for the default", ErrOptions, d.name, d.value)
		}
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"JournalMaxBytes", o.JournalMaxBytes}, {"QueueMaxBatches", o.QueueMaxBatches}, {"QueueMaxBytes", o.QueueMaxBytes}} {
		if n.value < 0 {
			return fmt.Errorf("%w: %s is %d; give a positive number, or 0 for the default", ErrOptions, n.name, n.value)
		}
	}
	return nil
}

func setDefault[T ~int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (o Options) node() store.Config {
	return store.Config{ID: o.ID, Role: o.Role, Dialect: o.Dialect, Databases: o.Databases, Guard: o.guards(), Journal: o.Journal, Logger: o.Logger}
}

// acceptsSnaps reports whether a master lets snaps in.
func (o Options) acceptsSnaps() bool { return o.Listen != "" && o.access().Snaps() }

// guards reports whether the user's triggers stay still while the node itself writes.
func (o Options) guards() bool { return o.Role == Snap || o.Role == Master && o.acceptsSnaps() }
