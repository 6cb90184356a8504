package health

import "time"

// Consistency says how fresh a read must be.
type Consistency int

const (
	// Session reads see every write made earlier through the same Cluster. The default.
	Session Consistency = iota
	// Eventual reads may show any state that the master had within Options.MaxLag; on a replica that has lost its
	// master, the last one that it has, however old.
	Eventual
	// Strong reads see every write that has returned anywhere: they go to the master.
	Strong
)

// String returns the name in lower case.
func (c Consistency) String() string {
	switch c {
	case Eventual:
		return "eventual"
	case Strong:
		return "strong"
	}
	return "session"
}

// Candidate is what a Picker may know of a node that qualifies for a read.
type Candidate struct {
	ID      string
	Local   bool          // on the caller's own machine
	InUse   int           // reads in progress from this Cluster
	Latency time.Duration // moving average of recent reads; 0 while unknown
}

// Picker chooses the node that serves a read. Pick is called with at least one
// candidate, concurrently, and returns an index into them. It must not block.
type Picker interface {
	Pick(candidates []Candidate) int
}
