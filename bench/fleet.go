package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport"
	"github.com/ddb-project/ddb/transport/inmem"
	"github.com/ddb-project/ddb/transport/tcp"
)

// A fleet is many snaps in one process. Over TCP it is a process of its own, so that the memory of the
// master's process is the master's.

const (
	fleetSize  = 200
	fleetWrite = 5 // transactions of one row that each snap makes in a round
	asFleet    = "BENCH_FLEET"
)

// fleet is the snaps of one process.
type fleet struct {
	shops []*shop
}

func openFleet(ctx context.Context, e *env, size int, address string, over transport.Transport) (*fleet, error) {
	f := &fleet{shops: make([]*shop, size)}
	err := each(ctx, 8, size, func(ctx context.Context, i int) error {
		db, err := sqliteEngine(e, 1)
		if err == nil {
			f.shops[i-1], err = openShop(ctx, db, fmt.Sprintf("s%d", i), address, over)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *fleet) close() error {
	var err error
	for _, s := range f.shops {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}
	return err
}

// write lets all snaps write at once and waits until each has the rows of all.
func (f *fleet) write(ctx context.Context, total int) error {
	err := each(ctx, len(f.shops), len(f.shops)*fleetWrite, func(ctx context.Context, i int) error {
		return inserts(f.shops[i%len(f.shops)])(ctx, i, 0)
	})
	for _, s := range f.shops {
		if err == nil {
			err = s.hasRows(ctx, total)
		}
	}
	return err
}

// hasRows waits until the snap shows that many rows and has nothing pending.
func (s *shop) hasRows(ctx context.Context, total int) error {
	for {
		var n int
		if err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM items").Scan(&n); err != nil {
			return err
		}
		if n == total && s.Nodes()[0].Pending == 0 {
			return nil
		}
		wait(ctx, 5*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d rows of %d, %+v: %w", n, total, s.Nodes()[0], err)
		}
	}
}

// fleetOrder is what the process of a fleet is told, one per line; it answers each with a line.
type fleetOrder struct {
	Total int // write until everyone has so many rows
}

// runFleet is the process of a fleet: the address of the master and the number of snaps are its arguments.
func runFleet(ctx context.Context, args []string) error {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	e := new(env)
	if e.dir, err = os.MkdirTemp(args[2], "fleet-*"); err != nil {
		return err
	}
	defer e.close()
	f, err := openFleet(ctx, e, size, args[0], tcp.New(tcp.Options{}))
	if err != nil {
		return err
	}
	defer f.close()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o fleetOrder
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		if err := f.write(ctx, o.Total); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

// fleetProcess is the other end of runFleet.
type fleetProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startFleet(ctx context.Context, e *env, size int, address string) (*fleetProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &fleetProcess{cmd: exec.CommandContext(ctx, self, address, strconv.Itoa(size), e.dir)}
	f.cmd.Env, f.cmd.Stderr = append(os.Environ(), asFleet+"=1"), os.Stderr
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.out = bufio.NewScanner(out)
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	return f, f.expect("ready")
}

func (f *fleetProcess) expect(word string) error {
	if !f.out.Scan() || f.out.Text() != word {
		return fmt.Errorf("the fleet's process did not say %q: %q %w", word, f.out.Text(), errors.Join(f.out.Err(), io.ErrUnexpectedEOF))
	}
	return nil
}

func (f *fleetProcess) write(_ context.Context, total int) error {
	if err := json.NewEncoder(f.in).Encode(fleetOrder{total}); err != nil {
		return err
	}
	return f.expect("done")
}

func (f *fleetProcess) close() error {
	return errors.Join(f.in.Close(), f.cmd.Wait())
}

// heap returns the Go memory in use, stacks included, after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// fleetInProcess measures the throughput over the in-memory transport, and the memory of both sides.
func fleetInProcess(ctx context.Context, e *env) (_ []figure, err error) {
	size := e.scale(fleetSize, 20)
	mdb, err := sqliteEngine(e, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, mdb.close()) }()
	if _, err := mdb.ExecContext(ctx, sqliteItems); err != nil {
		return nil, err
	}
	net := inmem.New()
	m, err := ddb.Open(ctx, mdb.DB, ddb.Options{Listen: "master", Transport: net, Logger: logger()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	without := heap()
	f, err := openFleet(ctx, e, size, "master", net)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	rate, mem, err := fleetRounds(ctx, e, size, without, f.write)
	return []figure{{what: "exchanged between all of them", value: rate, unit: "rows/s", from: fmt.Sprintf("%d rows, each then on %d nodes", size*fleetWrite, size+1)},
		{what: "memory of the master and the snap, per snap", value: mem, unit: "MiB"}}, err
}

// fleetOverTCP measures the throughput over TCP, and what each snap costs the master's process.
func fleetOverTCP(ctx context.Context, e *env) (_ []figure, err error) {
	size := e.scale(fleetSize, 20)
	p, err := openMaster(ctx, e, sqliteEngine, sqliteItems)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	without := heap()
	f, err := startFleet(ctx, e, size, p.address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	rate, mem, err := fleetRounds(ctx, e, size, without, f.write)
	return []figure{{what: "exchanged between all of them", value: rate, unit: "rows/s", from: fmt.Sprintf("%d rows, each then on %d nodes", size*fleetWrite, size+1)},
		{what: "memory of the master, per snap", value: mem, unit: "MiB", goal: 1, most: true, from: "Go heap and stacks in use, with them connected less without"}}, err
}

// fleetRounds lets the fleet write, and measures the memory while it works and at rest: the larger counts.
func fleetRounds(ctx context.Context, e *env, size int, without float64, write func(ctx context.Context, total int) error) (rate, perSnap float64, err error) {
	var rates []float64
	most := heap()
	for round := range e.rounds {
		var at float64
		var watch sync.WaitGroup
		watch.Go(func() { wait(ctx, 500*time.Millisecond); at = heap() })
		start := time.Now()
		err := write(ctx, (round+1)*size*fleetWrite)
		took := time.Since(start).Seconds()
		watch.Wait()
		if err != nil {
			return 0, 0, err
		}
		rates, most = append(rates, float64(size*fleetWrite)/took), max(most, at, heap())
	}
	return median(rates), (most - without) / float64(size) / (1 << 20), nil
}
