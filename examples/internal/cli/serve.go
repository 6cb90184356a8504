package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"syscall"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// off is the --http value for a node without a console.
const off = "off"

// Serve serves the console of the node until ctx ends, which is no error. It calls up
// with the URL for a browser, or "off", as soon as the console answers.
func (n *Node) Serve(ctx context.Context, c *ddb.Cluster, up func(url string)) error {
	if n.HTTP == off {
		up(off)
		<-ctx.Done()
		return nil
	}
	log, err := NewLogger(n.LogLevel)
	if err != nil {
		return err
	}
	tokens, err := n.tokens()
	if err != nil {
		return err
	}
	h, err := console.New(c, console.Options{Token: n.Token, Tokens: tokens, Logger: log, Database: n.server()})
	if err != nil {
		return err
	}
	ln, err := console.Listen(n.HTTP, h)
	if err != nil {
		return errors.Join(explainHTTP(n.HTTP, err), h.Close())
	}
	up("http://" + ln.Addr().String() + "/")
	return errors.Join(console.ServeListener(ctx, ln, h), h.Close())
}

// tokens are those with less access than the administrator's, without which they would lock him out.
func (n *Node) tokens() (map[string]console.Access, error) {
	tokens := make(map[string]console.Access)
	for _, t := range []struct {
		token  string
		access console.Access
	}{{n.Writer, console.Write}, {n.Reader, console.Read}} {
		if t.token == "" {
			continue
		}
		if _, taken := tokens[t.token]; taken || t.token == n.Token {
			return nil, Usage("--token, --write-token and --read-token must differ from each other")
		}
		tokens[t.token] = t.access
	}
	if len(tokens) > 0 && n.Token == "" {
		return nil, Usage("--write-token and --read-token want --token too, or nobody could administer the node")
	}
	return tokens, nil
}

// server says how mariadb-dump reaches the node's MariaDB; it is zero for SQLite.
func (n *Node) server() console.Server {
	u, err := url.Parse(n.DB)
	if err != nil || u.User == nil {
		return console.Server{}
	}
	cfg, err := mysqlConfig(n.DB)
	if err != nil {
		return console.Server{}
	}
	port, _ := strconv.Atoi(u.Port()) // 0 means the default
	return console.Server{Host: u.Hostname(), Port: port, User: cfg.User, Password: cfg.Passwd, Database: cfg.DBName}
}

// explainHTTP names the flag to change when the console cannot have its address.
func explainHTTP(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the console's port is taken; choose another with --http (now %s): %w", address, err)
	}
	return fmt.Errorf("--http %s: %w", address, err)
}
