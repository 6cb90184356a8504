package fleet

import (
	"context"
	"fmt"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/link"
	"github.com/ddb-project/ddb/internal/sequence"
	"github.com/ddb-project/ddb/journal"
	"github.com/ddb-project/ddb/remedy"
)

// judge decides whether a follower that has shown who it is may come in, and whether it needs a snapshot.
func (fl *Fleet) judge(ctx context.Context, h link.Hello) (link.Welcome, error) {
	w := link.Welcome{Prompt: fl.cfg.WaitReplicas > 0}
	if h.Dialect != fl.node.Dialect.Name() {
		return w, fmt.Errorf("%w: node %s keeps its data in %s, the master in %s; all nodes of a cluster need the same kind of database", fault.ErrOptions, h.ID, h.Dialect, fl.node.Dialect.Name())
	}
	switch {
	case h.Cluster == "":
		w.Snapshot = true
	case h.Cluster != fl.node.ClusterID && !h.Rejoin:
		return w, remedy.New(fault.ErrOtherCluster, fmt.Sprintf("node %s belongs to cluster %s, this is %s", h.ID, h.Cluster, fl.node.ClusterID),
			remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin to replace its data"})
	case h.Cluster != fl.node.ClusterID:
		w.Snapshot = true
	default:
		var err error
		if w.Snapshot, err = fl.needsSnapshot(ctx, h); err != nil {
			return w, err
		}
	}
	if h.Role != health.Snap {
		return w, nil
	}
	if fl.Intake == nil {
		return w, fmt.Errorf("%w: Options.Nodes of the master accepts none", fault.ErrUnknownNode)
	}
	err := fl.seq.Do(ctx, func(turn *sequence.Turn) (err error) {
		w.Node = fl.registry.known[h.ID].number
		w, err = fl.Intake.Admit(ctx, turn, h, w)
		return err
	})
	return w, err
}

// authenticate returns the key that the follower has proved, nil if it need not prove one.
func (fl *Fleet) authenticate(h link.Hello, proves func(key []byte) bool) (key []byte, err error) {
	if h.ID == fl.node.ID {
		return nil, fmt.Errorf("%w: %q is the master's own id; give the follower another", fault.ErrDuplicateID, h.ID)
	}
	access := fl.access.Load()
	n, ok := access.Of(h.ID)
	if !ok || n.Role != "" && n.Role != h.Role {
		return nil, fmt.Errorf("%w: %s %q is not in Options.Nodes of the master", fault.ErrUnknownNode, h.Role, h.ID)
	}
	keys := access.KeysOf(n)
	for _, k := range keys {
		if proves(k) {
			return k, nil
		}
	}
	if len(keys) > 0 {
		return nil, remedy.New(fault.ErrUnknownNode, fmt.Sprintf("node %s did not prove the cluster's key", h.ID), remedy.Remedy{Action: remedy.CheckKey, Text: "check Options.Key"})
	}
	return nil, nil
}

// needsSnapshot compares histories: a follower that is on ours and within the journal goes on
// from where it stands.
func (fl *Fleet) needsSnapshot(ctx context.Context, h link.Hello) (bool, error) {
	first, last, err := fl.node.Journal.Bounds(ctx)
	if err != nil {
		return false, err
	}
	if h.Position.LSN == 0 {
		return true, nil
	}
	fork := func(why string) (bool, error) {
		if h.Rejoin {
			return true, nil
		}
		return false, remedy.New(fault.ErrForked, fmt.Sprintf("node %s stands at %v (%v): %s", h.ID, h.Position, h.Position.Hash, why),
			remedy.Remedy{Action: remedy.Rejoin, Text: "set Rejoin on it to replace its data by a snapshot"})
	}
	switch {
	case h.Position.Epoch > fl.seq.Epoch:
		return false, fmt.Errorf("%w: node %s has followed epoch %d, this master's is %d; another node is the master now", fault.ErrOldEpoch, h.ID, h.Position.Epoch, fl.seq.Epoch)
	case h.Position.LSN > last.LSN:
		return fork(fmt.Sprintf("the master's journal ends at %v", last))
	case h.Position.LSN < first.LSN:
		fl.node.Log.Info("a follower has been away for longer than the journal reaches", "id", h.ID, "lsn", h.Position.LSN, "first", first.LSN)
		return true, nil
	}
	at, err := fl.at(ctx, h.Position.LSN)
	if err != nil {
		return false, err
	}
	if at != h.Position {
		return fork(fmt.Sprintf("the master's entry there is %v (%v)", at, at.Hash))
	}
	return false, nil
}

// at returns the position of an entry in the journal.
func (fl *Fleet) at(ctx context.Context, lsn journal.LSN) (journal.Position, error) {
	index := -1
	for {
		parts, err := fl.node.Journal.Read(ctx, lsn, index, journal.ReadBytes)
		if err != nil {
			return journal.Position{}, err
		}
		for _, p := range parts {
			if p.LSN == lsn && p.Final {
				return p.Position(), nil
			}
			if p.LSN != lsn {
				return journal.Position{}, fmt.Errorf("%w: entry %d", fault.ErrTrimmed, lsn)
			}
			index = p.Index
		}
		if len(parts) == 0 {
			return journal.Position{}, fmt.Errorf("%w: entry %d", fault.ErrTrimmed, lsn)
		}
	}
}
