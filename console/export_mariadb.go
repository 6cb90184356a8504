package console

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
)

// ServerFromDSN takes a Server from a data source name of go-sql-driver/mysql: [user[:password]@][net[(address)]]/database[?parameters].
func ServerFromDSN(dsn string) (Server, error) {
	unreadable := errors.New("console: the data source name cannot be read") // the cause may hold the password
	slash := strings.LastIndexByte(dsn, '/')
	if slash < 0 {
		return Server{}, unreadable
	}
	var s Server
	at := strings.LastIndexByte(dsn[:slash], '@')
	if at >= 0 {
		s.User, s.Password, _ = strings.Cut(dsn[:at], ":")
	}
	network, address, addressed := strings.Cut(dsn[at+1:slash], "(")
	address, closed := strings.CutSuffix(address, ")")
	database, _, _ := strings.Cut(dsn[slash+1:], "?")
	var err error
	if s.Database, err = url.PathUnescape(database); err != nil || addressed != closed {
		return Server{}, unreadable
	}
	switch {
	case network == "unix":
		s.Socket = cmp.Or(address, "/tmp/mysql.sock")
		return s, nil
	case network != "" && network != "tcp":
		s.Host = address
		return s, nil
	}
	host, port, err := net.SplitHostPort(cmp.Or(address, "127.0.0.1:3306"))
	if err != nil {
		host, port = address, "3306"
	}
	s.Host = host
	if s.Port, err = strconv.Atoi(port); err != nil {
		return Server{}, fmt.Errorf("console: the port %q of the data source name is no number", port)
	}
	return s, nil
}

// optionFile writes the connection's settings where only this user can read them: an argument
// would show the password to everybody on the machine.
func (s Server) optionFile() (path string, remove func(), err error) {
	folder, err := os.MkdirTemp("", "ddb-export-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(folder) }
	var b strings.Builder
	b.WriteString("[client]\n")
	for _, o := range [][2]string{{"host", s.Host}, {"socket", s.Socket}, {"user", s.User}, {"password", s.Password}} {
		if o[1] != "" {
			fmt.Fprintf(&b, "%s=\"%s\"\n", o[0], strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(o[1]))
		}
	}
	if s.Port != 0 {
		fmt.Fprintf(&b, "port=%d\n", s.Port)
	}
	if s.Host != "" && s.Socket == "" {
		b.WriteString("protocol=tcp\n")
	}
	path = filepath.Join(folder, "client.cnf")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

func dumpProgram(chosen string) (string, error) {
	if chosen != "" {
		return chosen, nil
	}
	for _, name := range []string{"mariadb-dump", "mysqldump"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoDump
}

// exportMariaDB runs the dump program in one consistent transaction. It leaves all triggers out, because ddb's
// own stand on the same tables; the user's follow from the cluster's schema.
func exportMariaDB(ctx context.Context, c *ddb.Cluster, w io.Writer, opts ExportOptions) error {
	program, err := dumpProgram(opts.Program)
	if err != nil {
		return err
	}
	objects, err := c.Objects(ctx)
	if err != nil {
		return err
	}
	var databases []string
	for _, o := range objects {
		if o.Kind == "database" {
			databases = append(databases, o.Name)
		}
	}
	if len(databases) == 0 {
		databases = []string{opts.Server.Database}
	}
	options, remove, err := opts.Server.optionFile()
	if err != nil {
		return err
	}
	defer remove()
	args := []string{"--defaults-file=" + options, "--single-transaction", "--quick", "--skip-lock-tables", "--skip-triggers", "--routines", "--hex-blob",
		"--no-tablespaces", "--default-character-set=utf8mb4"}
	if len(databases) > 1 {
		args = append(args, "--databases")
	}
	args = append(append(args, "--"), databases...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = 5 * time.Second
	var complaint limitedBuffer
	cmd.Stdout, cmd.Stderr = w, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, bytes.TrimSpace(complaint.b))
	}
	for _, o := range objects {
		if o.Kind != "trigger" {
			continue
		}
		if len(databases) > 1 {
			fmt.Fprintf(w, "USE `%s`;\n", strings.ReplaceAll(o.Database, "`", "``"))
		}
		if err := writeTrigger(w, o.SQL); err != nil {
			return err
		}
	}
	return nil
}

// surroundings is the comment with which [dialect.Object] notes what a statement's meaning depends on.
var surroundings = regexp.MustCompile(`^/\* sql_mode=([A-Z0-9_,]*) collation=([a-z0-9_]*) \*/ `)

func writeTrigger(w io.Writer, text string) error {
	mode := "@@sql_mode"
	if m := surroundings.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		mode = "'" + m[1] + "'"
	}
	_, err := fmt.Fprintf(w, "SET @ddb_mode=@@sql_mode;\nSET sql_mode=%s;\nDELIMITER ;;\n%s ;;\nDELIMITER ;\nSET sql_mode=@ddb_mode;\n", mode, text)
	return err
}

// limitedBuffer keeps the first bytes of what a program complains about.
type limitedBuffer struct{ b []byte }

func (l *limitedBuffer) Write(b []byte) (int, error) {
	if room := 2000 - len(l.b); room > 0 {
		l.b = append(l.b, b[:min(room, len(b))]...)
	}
	return len(b), nil
}
