package cli

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/transport/tcp"
)

// Node holds the flags that every node has.
type Node struct {
	DB       string
	HTTP     string
	LogLevel string
	Token    string
	// Writer and Reader are tokens with less access than Token.
	Writer  string
	Reader  string
	Key     string
	OldKey  string
	KeyFile string
	// Insecure is for a master: it has the flag where RegisterMaster has been called.
	Insecure bool
	TLSCert  string
	TLSKey   string
	TLSCA    string
}

// Register adds the flags; db and http are shown as the defaults of theirs and
// filled in by the caller.
func (n *Node) Register(fs *flag.FlagSet, db, http string) {
	fs.StringVar(&n.DB, "db", "", "`URL` of the node's own database: sqlite:PATH, or\n        mysql://USER@HOST:PORT/DATABASE with the password in DDB_DB_PASSWORD, which\n        other users of the machine cannot see (default "+db+")")
	fs.StringVar(&n.HTTP, "http", "", "`address` of the console; \"off\" for none (default "+http+")")
	fs.StringVar(&n.LogLevel, "log-level", "info", "`level` of the log on stderr: trace, debug, info, warn, error or off")
	fs.StringVar(&n.Token, "token", "", "`secret` that the console asks for; better in DDB_TOKEN, which other users of the\n        machine cannot see")
	fs.StringVar(&n.Writer, "write-token", "", "`secret` for who may change rows but not the schema; better in DDB_WRITE_TOKEN")
	fs.StringVar(&n.Reader, "read-token", "", "`secret` for who may only look; better in DDB_READ_TOKEN")
	fs.StringVar(&n.Key, "key", "", "`secret` shared by the nodes of the cluster; better in DDB_KEY")
	fs.StringVar(&n.OldKey, "old-key", "", "`secret` that --key replaces, good too until all nodes have the new one; better in\n        DDB_OLD_KEY")
	fs.StringVar(&n.KeyFile, "key-file", "", "`file` whose first line is --key, and whose second, if any, is --old-key")
	fs.StringVar(&n.TLSCert, "tls-cert", "", "PEM `file` with this node's certificate")
	fs.StringVar(&n.TLSKey, "tls-key", "", "PEM `file` with its key")
	fs.StringVar(&n.TLSCA, "tls-ca", "", "PEM `file` with the authority whose certificates the other side must show")
}

// RegisterMaster adds the flags that only a master has.
func (n *Node) RegisterMaster(fs *flag.FlagSet) {
	fs.BoolVar(&n.Insecure, "insecure", false, "listen beyond this machine although neither a key nor a certificate is asked for:\n        whoever connects can read and change everything")
}

// Fill sets what was left empty from the environment and the defaults.
func (n *Node) Fill(db, http string) {
	setDefault(&n.DB, db)
	setDefault(&n.HTTP, http)
	setDefault(&n.Token, os.Getenv("DDB_TOKEN"))
	setDefault(&n.Writer, os.Getenv("DDB_WRITE_TOKEN"))
	setDefault(&n.Reader, os.Getenv("DDB_READ_TOKEN"))
	if n.KeyFile == "" {
		setDefault(&n.Key, os.Getenv("DDB_KEY"))
		setDefault(&n.OldKey, os.Getenv("DDB_OLD_KEY"))
	}
}

func setDefault(v *string, d string) {
	if *v == "" {
		*v = d
	}
}

// Options returns the ddb.Options that the flags say: role, logger, key and transport.
func (n *Node) Options(role ddb.Role) (ddb.Options, error) {
	log, err := NewLogger(n.LogLevel)
	if err != nil {
		return ddb.Options{}, err
	}
	config, err := n.tls(role == ddb.Master)
	if err != nil {
		return ddb.Options{}, fmt.Errorf("--tls-cert, --tls-key, --tls-ca: %w", err)
	}
	if err := n.readKeys(); err != nil {
		return ddb.Options{}, err
	}
	return ddb.Options{Role: role, Logger: log, Key: []byte(n.Key), OldKey: []byte(n.OldKey), AllowInsecure: n.Insecure, Transport: tcp.New(tcp.Options{TLS: config})}, nil
}

// readKeys takes the keys from --key-file, if it is given.
func (n *Node) readKeys() error {
	if n.KeyFile == "" {
		return nil
	}
	if n.Key != "" || n.OldKey != "" {
		return Usage("--key-file stands in place of --key and --old-key; give one or the other")
	}
	text, err := os.ReadFile(n.KeyFile)
	if err != nil {
		return fmt.Errorf("--key-file: %w", err)
	}
	lines := strings.Fields(string(text))
	if len(lines) == 0 || len(lines) > 2 {
		return Usage("--key-file %s has %d words; it wants the key on the first line, and on the second the old one if there is one", n.KeyFile, len(lines))
	}
	n.Key = lines[0]
	if len(lines) == 2 {
		n.OldKey = lines[1]
	}
	return nil
}

// tls is nil when no flag asks for it.
func (n *Node) tls(listens bool) (*tls.Config, error) {
	switch {
	case n.TLSCert == "" && n.TLSKey == "" && n.TLSCA == "":
		return nil, nil
	case (n.TLSCert == "") != (n.TLSKey == ""):
		return nil, errors.New("a certificate needs its key and a key its certificate")
	case listens && n.TLSCert == "":
		return nil, errors.New("a master that speaks TLS needs a certificate and its key")
	case listens:
		return tcp.ServerTLS(n.TLSCert, n.TLSKey, n.TLSCA)
	}
	return tcp.ClientTLS(n.TLSCA, n.TLSCert, n.TLSKey)
}

// NewLogger returns a logger on stderr, in the words of the command line.
func NewLogger(level string) (hclog.Logger, error) {
	l := hclog.LevelFromString(level)
	if l == hclog.NoLevel {
		return nil, Usage("--log-level %q is none of trace, debug, info, warn, error, off", level)
	}
	return flagLogger{hclog.New(&hclog.LoggerOptions{Name: "ddb", Level: l, Output: os.Stderr})}, nil
}

// Open opens the node's database and the node on it. listen is the master's --listen.
// The caller closes the Cluster and then the database.
func (n *Node) Open(ctx context.Context, o ddb.Options) (*ddb.Cluster, *sql.DB, error) {
	db, err := OpenDB(ctx, n.DB)
	if err != nil {
		return nil, nil, err
	}
	c, err := ddb.Open(ctx, db, o)
	if err != nil {
		return nil, nil, errors.Join(explainOpen(n.DB, o.Listen, err), db.Close())
	}
	return c, db, nil
}

// explainOpen names the flag to change.
func explainOpen(db, listen string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the port is taken; choose another with --listen (now %s): %w", listen, err)
	case errors.Is(err, ddb.ErrSecondMaster):
		return fmt.Errorf("stop the other node, or choose another database with --db (now %s): %w", Redact(db), err)
	case errors.Is(err, ddb.ErrWrongRole):
		return fmt.Errorf("choose another database with --db (now %s): %w", Redact(db), err)
	case errors.Is(err, ddb.ErrPrivilege):
		return fmt.Errorf("the user in --db %s may not do what ddb needs: %w", Redact(db), err)
	}
	return err
}

// CheckAddress refuses an address that nobody could be reached at; flag is its name.
func CheckAddress(flag, address string) error {
	host, port, err := net.SplitHostPort(address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		return Usage("%s %q is not HOST:PORT", flag, address)
	}
	return nil
}

// PortPlus adds n to the port of an address.
func PortPlus(address string, n int) string {
	host, port, ok := strings.Cut(address, ":")
	base, err := strconv.Atoi(port)
	if !ok || err != nil {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(base+n))
}
