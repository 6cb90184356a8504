//go:build unix

package haproxy_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ddb-project/ddb/internal/testdb"
)

const configuration = "haproxy.cfg"

// haproxyCommand returns a command for haproxy. Where it is missing the test is skipped, unless
// DDB_REQUIRE_HAPROXY=1: then it fails.
func haproxyCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	testdb.NotQuick(t, "DDB_REQUIRE_HAPROXY", "HAProxy")
	path, err := exec.LookPath("haproxy")
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not in every user's PATH
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, "haproxy"))
		}
	}
	switch {
	case err == nil:
	case os.Getenv("DDB_REQUIRE_HAPROXY") == "1":
		t.Fatal("haproxy is missing and DDB_REQUIRE_HAPROXY=1: install Debian's haproxy or run ./scripts/test")
	default:
		t.Skip("haproxy is not installed: install Debian's haproxy or run ./scripts/test")
	}
	return exec.Command(path, args...)
}

// proxy is a running haproxy.
type proxy struct {
	t       *testing.T
	address map[string]string // of the ports, by the name of their section
}

// startHAProxy runs the shipped configuration with the ports of the two nodes in it.
func startHAProxy(ctx context.Context, t *testing.T, master, replica *node) *proxy {
	p := &proxy{t: t, address: map[string]string{}}
	text, err := os.ReadFile(configuration)
	require.NoError(t, err)
	var pairs []string
	substitute := func(old, to string) {
		require.Contains(t, string(text), old, "this test knows the ports of the shipped file")
		pairs = append(pairs, old, to)
	}
	for section, shipped := range map[string]string{"writes": "127.0.0.1:6446", "reads": "127.0.0.1:6447", "stats": "127.0.0.1:8404"} {
		p.address[section] = net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t)))
		substitute("bind "+shipped, "bind "+p.address[section])
	}
	substitute(" 127.0.0.1:3306 ", fmt.Sprintf(" 127.0.0.1:%d ", master.server.Port()))
	substitute(" 127.0.0.1:3307 ", fmt.Sprintf(" 127.0.0.1:%d ", replica.server.Port()))
	substitute(" port 8080", fmt.Sprintf(" port %d", master.console))
	substitute(" port 8081", fmt.Sprintf(" port %d", replica.console))
	file := filepath.Join(t.TempDir(), configuration)
	require.NoError(t, os.WriteFile(file, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600))
	p.run(file)
	require.NoError(t, poll(ctx, func() (bool, error) {
		_, err := p.stats(ctx)
		return err == nil, nil
	}), "haproxy does not answer")
	return p
}

// run starts haproxy and ends it with the test, whose log gets what it has said if the test fails.
func (p *proxy) run(file string) {
	logFile := filepath.Join(p.t.TempDir(), "haproxy.log")
	out, err := os.Create(logFile)
	require.NoError(p.t, err)
	defer out.Close() // haproxy has its own copy
	cmd := haproxyCommand(p.t, "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(p.t, cmd.Start())
	p.t.Cleanup(func() {
		cmd.Process.Kill() // fails only if it has ended
		cmd.Wait()
		if text, err := os.ReadFile(logFile); err == nil && p.t.Failed() {
			p.t.Logf("haproxy said:\n%s", text)
		}
	})
}

// stats returns what haproxy says of each server, by section/server and column.
func (p *proxy) stats(ctx context.Context) (map[string]map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address["stats"]+"/;csv", nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // no connection outlives the test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := csv.NewReader(resp.Body)
	r.FieldsPerRecord = -1
	records, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || len(records) == 0 {
		return nil, fmt.Errorf("status %s, %d lines", resp.Status, len(records))
	}
	servers := make(map[string]map[string]string)
	for _, record := range records[1:] {
		fields := make(map[string]string)
		for i, value := range record {
			fields[strings.TrimPrefix(records[0][i], "# ")] = value
		}
		servers[fields["pxname"]+"/"+fields["svname"]] = fields
	}
	return servers, nil
}

// waitStatus waits until haproxy has marked the server up or down.
func (p *proxy) waitStatus(ctx context.Context, section, server, status string) {
	p.t.Helper()
	// On its way it says "UP 1/2" or "DOWN 1/2". It begins with "UP" before the first check.
	p.waitField(ctx, section, server, "status", func(f map[string]string) bool {
		return f["status"] == status && f["check_status"] != "INI"
	})
}

// waitSessions waits until the server has so many sessions.
func (p *proxy) waitSessions(ctx context.Context, section, server string, n int) {
	p.t.Helper()
	p.waitField(ctx, section, server, "scur", func(f map[string]string) bool { return f["scur"] == fmt.Sprint(n) })
}

func (p *proxy) waitField(ctx context.Context, section, server, field string, cond func(map[string]string) bool) {
	p.t.Helper()
	var last map[string]string
	err := poll(ctx, func() (bool, error) {
		all, err := p.stats(ctx)
		if err != nil {
			return false, err
		}
		last = all[section+"/"+server]
		return cond(last), nil
	})
	require.NoError(p.t, err, "%s/%s: %s is %q, its last check %q", section, server, field, last[field], last["last_chk"])
}

// poll calls cond until it is true or fails.
func poll(ctx context.Context, cond func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// freePort returns a port that is free now.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
