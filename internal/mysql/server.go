package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

const maxStatement = 1 << 20 // bytes of SQL text in one statement

// server is a database server as ddb finds it. Nothing of it changes but the list of databases.
type server struct {
	bound     []string                 // the databases that it was bound to; the first one is the primary one
	all       atomic.Pointer[[]string] // bound, and those that replicate has added
	own       string                   // name of ddb's own database
	mariadb   bool
	fold      bool   // lower_case_table_names != 0
	process   bool   // the user may read InnoDB's dictionary
	user      string // the server's CURRENT_USER
	statement int    // limit of a statement's size, bytes
	packet    int    // max_allowed_packet, bytes
}

// inspect checks the server's version, that a database is selected or named, and that
// the user has the privileges that ddb needs.
func inspect(ctx context.Context, q dialect.Querier, databases []string) (*server, error) {
	s := &server{}
	if err := s.identify(ctx, q, databases); err != nil {
		return nil, err
	}
	if err := s.checkPrivileges(ctx, q); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *server) identify(ctx context.Context, q dialect.Querier, databases []string) error {
	rows, err := lang.Texts(ctx, q, "SELECT VERSION(), DATABASE(), @@lower_case_table_names, @@max_allowed_packet, CURRENT_USER()")
	if err != nil {
		return fmt.Errorf("mysql: connect: %w", lang.Wrap(err))
	}
	r := rows[0]
	var major, minor int
	fmt.Sscanf(r[0].String, "%d.%d", &major, &minor)
	s.mariadb = strings.Contains(strings.ToLower(r[0].String), "mariadb")
	old := major*100+minor < 800
	if s.mariadb {
		old = major*100+minor < 1006
	}
	if old {
		return fmt.Errorf("mysql: server version %s is too old: ddb needs MariaDB 10.6 or MySQL 8.0", r[0].String)
	}
	s.fold = r[2].String != "0"
	s.packet = lang.Atoi(r[3].String)
	s.user = r[4].String
	s.statement = min(maxStatement, s.packet/2)
	bound := slices.Clone(databases)
	if len(bound) == 0 && r[1].Valid {
		bound = []string{r[1].String}
	}
	if len(bound) == 0 {
		return errors.New("mysql: no database: name one in the DSN or in Databases")
	}
	for i, d := range bound {
		if s.fold {
			bound[i] = strings.ToLower(d)
		}
		switch strings.ToLower(d) {
		case "", "mysql", "information_schema", "performance_schema", "sys":
			return fmt.Errorf("mysql: database %q cannot be replicated: name the program's own databases", d)
		}
	}
	s.own = bound[0] + "_ddb"
	if len(s.own) > 64 {
		return fmt.Errorf("mysql: database name %q is too long: ddb needs room for %q (64 characters)", bound[0], s.own)
	}
	if slices.Contains(bound, s.own) {
		return fmt.Errorf("mysql: database %q is ddb's own: leave it out of Databases", s.own)
	}
	s.bound = bound
	s.all.Store(&bound)
	return nil
}

// with returns the databases that it was bound to, and more.
func (s *server) with(more []string) []string {
	all := slices.Clone(s.bound)
	for _, d := range more {
		if s.fold {
			d = strings.ToLower(d)
		}
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}

// replicate makes these the replicated databases; see with.
func (s *server) replicate(all []string) { s.all.Store(&all) }

// databases lists the replicated databases; the first one is the primary one.
func (s *server) databases() []string { return *s.all.Load() }

// grants is what SHOW GRANTS says: privileges by scope ("*" or a database pattern).
type grants map[string]map[string]bool

func readGrants(ctx context.Context, q dialect.Querier) (grants, error) {
	rows, err := lang.Texts(ctx, q, "SHOW GRANTS")
	if err != nil {
		return nil, err
	}
	g := grants{}
	for _, r := range rows {
		privs, rest, ok := strings.Cut(strings.TrimPrefix(r[0].String, "GRANT "), " ON ")
		if !ok {
			continue // a role, whose privileges have lines of their own
		}
		scope, _, _ := strings.Cut(rest, " TO ")
		db, obj, ok := strings.Cut(scope, ".")
		if !ok || obj != "*" {
			continue
		}
		db = strings.ReplaceAll(strings.Trim(db, "`\""), "``", "`")
		if g[db] == nil {
			g[db] = map[string]bool{}
		}
		for p := range strings.SplitSeq(privs, ",") {
			g[db][strings.TrimSpace(p)] = true
		}
	}
	return g, nil
}

// allows reports whether the privilege is granted globally or, with a database
// name, on that database.
func (g grants) allows(db, priv string) bool {
	for scope, have := range g {
		if !have[priv] && !have["ALL PRIVILEGES"] {
			continue
		}
		if scope == "*" || db != "" && like(scope, db) {
			return true
		}
	}
	return false
}

// like matches SQL's LIKE with backslash as the escape, as grants use it.
func like(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	switch c := pattern[0]; {
	case c == '%':
		return like(pattern[1:], s) || s != "" && like(pattern, s[1:])
	case c == '\\' && len(pattern) > 1:
		return s != "" && s[0] == pattern[1] && like(pattern[2:], s[1:])
	case s == "":
		return false
	case c == '_':
		return like(pattern[1:], s[1:])
	default:
		return (c|0x20) == (s[0]|0x20) && like(pattern[1:], s[1:])
	}
}

var (
	userPrivileges = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRIGGER"}
	ownPrivileges  = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "TRIGGER"}
)

func (s *server) checkPrivileges(ctx context.Context, q dialect.Querier) error {
	g, err := readGrants(ctx, q)
	if err != nil || len(g) == 0 {
		return nil // the statements themselves will tell
	}
	if g.allows("", "PROCESS") {
		s.process = true
		if _, err := lang.Texts(ctx, q, "SELECT "+s.fileName("'a'")); err != nil {
			s.process = false // the server does not tell how the dictionary spells names
		}
	}
	check := func(db string, want []string) error {
		var missing []string
		for _, p := range want {
			if !g.allows(db, p) {
				missing = append(missing, p)
			}
		}
		if missing == nil {
			return nil
		}
		return fmt.Errorf("mysql: the user lacks privileges on database %q: GRANT %s ON %s.* TO it: %w",
			db, strings.Join(missing, ", "), lang.Ident(db), dialect.ErrPrivilege)
	}
	for _, db := range s.databases() {
		if err := check(db, userPrivileges); err != nil {
			return err
		}
	}
	if err := check(s.own, ownPrivileges); err != nil {
		return err
	}
	if g.allows("", "SUPER") {
		return nil
	}
	rows, err := lang.Texts(ctx, q, "SELECT @@log_bin, @@log_bin_trust_function_creators")
	if err == nil && lang.IsOn(rows[0][0].String) && !lang.IsOn(rows[0][1].String) {
		return lang.ErrTrust
	}
	return nil
}

// Warning says what the node cannot notice with the privileges that its user has; "" if it notices everything.
func (s *server) Warning() string {
	if s.process {
		return ""
	}
	name, host, _ := strings.Cut(s.user, "@")
	return "a TRUNCATE by a client that bypasses ddb stays unseen, and the other nodes keep the rows, because the database user lacks a privilege: " +
		"GRANT PROCESS ON *.* TO " + lang.Ident(name) + "@" + lang.Ident(host)
}

// Own returns the quoted name of ddb's own table of that short name.
func (s *server) Own(name string) string { return lang.Qualified(s.own, name) }

// connectError says what to check when the first connection does not come about.
func connectError(err error) error {
	var network *net.OpError
	switch {
	case lang.Errno(err) == 1045:
		return fmt.Errorf("mysql: connect: %w; check the user and the password in the DSN", lang.Wrap(err))
	case errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("mysql: connect: %w; is the server up, and are host and port in the DSN right?", err)
	}
	return fmt.Errorf("mysql: connect: %w", lang.Wrap(err))
}

// MostBytes is how large a value the server stores, less some room for what goes with it.
func (s *server) MostBytes() int { return s.packet - s.packet/16 }

// fileName is the expression for a name as the server writes it in its files and InnoDB in its dictionary.
func (s *server) fileName(expression string) string {
	if !s.process {
		return "NULL" // nobody will ask
	}
	return "CONVERT(CONVERT(" + expression + " USING filename) USING binary)"
}
