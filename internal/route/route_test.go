package route_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/route"
	"github.com/ddb-project/ddb/internal/sqlclass"
	"github.com/ddb-project/ddb/journal"
)

// nowhere is a database that nobody can connect to: choosing a node asks none.
type nowhere struct{}

func (nowhere) Connect(context.Context) (driver.Conn, error) { return nil, errors.New("nowhere") }
func (nowhere) Driver() driver.Driver                        { return nil }

// last is a Picker that takes the last candidate.
type last struct{}

func (last) Pick(c []health.Candidate) int { return len(c) - 1 }

func memberAt(t *testing.T, id string, lsn journal.LSN, lag time.Duration) *route.Member {
	db := sql.OpenDB(nowhere{})
	t.Cleanup(func() { db.Close() })
	return &route.Member{ID: id, DB: db, LSN: func() journal.LSN { return lsn }, Lag: func() time.Duration { return lag }}
}

func newRouter(c route.Config) *route.Router {
	c.Picker, c.Log, c.Refresh = last{}, hclog.NewNullLogger(), func() {}
	c.Fault = func(error) dialect.Fault { return 0 }
	return route.New(c, route.NewTexts(sqlclass.SQLite, nil, nil, ""))
}

func TestChoose(t *testing.T) {
	master, level, behind, lagging, alone := memberAt(t, "m", 9, 0), memberAt(t, "level", 9, 0), memberAt(t, "behind", 5, time.Second), memberAt(t, "lagging", 2, time.Minute), memberAt(t, "alone", 1, health.LagUnknown)
	master.Master = true
	all := map[string]*route.Member{"m": master, "level": level, "behind": behind, "lagging": lagging}
	three := route.View{Master: master, Active: []*route.Member{level, behind}, Floor: []*route.Member{lagging}, All: all}
	eventual, strong := route.Rule{Consistency: health.Eventual, Set: true}, route.Rule{Consistency: health.Strong, Set: true}
	for _, c := range []struct {
		what   string
		config route.Config
		view   route.View
		sees   uint64 // an entry that reads must see
		rule   route.Rule
		tried  *route.Member
		want   string // "" for none
		err    error
	}{
		{what: "any", view: three, want: "behind"},
		{what: "not the one that was tried", view: three, tried: behind, want: "level"},
		{what: "its own writes", view: three, sees: 8, want: "level"},
		{what: "its own writes, which the master alone has", view: three, sees: 10, want: "m"},
		{what: "eventual, whatever it has written", view: three, sees: 10, rule: eventual, want: "behind"},
		{what: "strong", view: three, rule: strong, want: "m"},
		{what: "strong by the options", config: route.Config{Consistency: health.Strong}, view: three, want: "m"},
		{what: "a node by name", view: three, rule: route.Rule{Node: "lagging"}, want: "lagging"},
		{what: "a node that is not there", view: three, rule: route.Rule{Node: "x"}},
		{what: "fresh enough", view: three, rule: route.Rule{Consistency: health.Eventual, Set: true, MaxAge: 100 * time.Millisecond}, want: "level"},
		{what: "none fresh enough", view: route.View{Master: master, Active: []*route.Member{behind}}, rule: route.Rule{Consistency: health.Eventual, Set: true, MaxAge: 100 * time.Millisecond}, want: "m"},
		{what: "the floor", config: route.Config{Floor: 3}, view: three, want: "lagging"},
		{what: "no master, none fresh enough", view: route.View{Active: []*route.Member{behind}}, sees: 8, err: fault.ErrStale},
		{what: "alone, eventual", view: route.View{Alone: alone}, rule: eventual, want: "alone"},
		{what: "alone, and its own writes", view: route.View{Alone: alone}, err: fault.ErrStale},
		{what: "the master was tried", view: route.View{Master: master}, tried: master, err: fault.ErrStale},
	} {
		r := newRouter(c.config)
		r.View.Store(&c.view)
		r.Session.Sees(c.sees)
		m, err := r.Choose(c.rule, c.tried)
		if c.want == "" {
			require.Error(t, err, c.what)
			if c.err != nil {
				require.ErrorIs(t, err, c.err, c.what)
			}
			continue
		}
		require.NoError(t, err, c.what)
		require.Equal(t, c.want, m.ID, c.what)
	}
}

// A member in maintenance, or on which a read has failed a moment ago, gets none.
func TestChooseLeavesOut(t *testing.T) {
	held, failed, well := memberAt(t, "held", 1, 0), memberAt(t, "failed", 1, 0), memberAt(t, "well", 1, 0)
	held.Hold.Store(true)
	r := newRouter(route.Config{})
	r.View.Store(&route.View{Active: []*route.Member{well, held, failed}})
	m, err := r.Choose(route.Rule{}, nil)
	require.NoError(t, err)
	require.Equal(t, "failed", m.ID)
	r.Failed(failed, errors.New("it is down"))
	m, err = r.Choose(route.Rule{}, nil)
	require.NoError(t, err)
	require.Equal(t, "well", m.ID)
}

// A write that is in no entry yet is the master's to show.
func TestChooseWaitsForNobody(t *testing.T) {
	master, replica := memberAt(t, "m", 9, 0), memberAt(t, "r", 9, 0)
	covered := uint64(3)
	r := newRouter(route.Config{})
	r.View.Store(&route.View{Master: master, Active: []*route.Member{replica}})
	r.Session.Covered = func() (uint64, journal.LSN) { return covered, 9 }
	for _, c := range []struct {
		write uint64
		want  string
	}{{3, "r"}, {4, "m"}} {
		r.Session.Wrote(c.write)
		m, err := r.Choose(route.Rule{}, nil)
		require.NoError(t, err)
		require.Equal(t, c.want, m.ID)
	}
	covered = 4
	m, err := r.Choose(route.Rule{}, nil)
	require.NoError(t, err)
	require.Equal(t, "r", m.ID)
	require.EqualValues(t, 9, r.Session.Seen())
}
