package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
)

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

func (s *Server) checkPrivileges(ctx context.Context, q dialect.Querier) error {
	g, err := readGrants(ctx, q)
	if err != nil || len(g) == 0 {
		return nil // the statements themselves will tell
	}
	if g.allows("", "PROCESS") {
		s.Process = true
		if _, err := lang.Texts(ctx, q, "SELECT "+s.FileName("'a'")); err != nil {
			s.Process = false // the server does not tell how the dictionary spells names
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
		return fmt.Errorf("the user lacks privileges on database %q: GRANT %s ON %s.* TO it: %w",
			db, strings.Join(missing, ", "), lang.Ident(db), dialect.ErrPrivilege)
	}
	for _, db := range s.Databases() {
		if err := check(db, userPrivileges); err != nil {
			return err
		}
	}
	if err := check(s.OwnDatabase, ownPrivileges); err != nil {
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
func (s *Server) Warning() string {
	if s.Process {
		return ""
	}
	name, host, _ := strings.Cut(s.user, "@")
	return "a TRUNCATE by a client that bypasses ddb stays unseen, and the other nodes keep the rows, because the database user lacks a privilege: " +
		"GRANT PROCESS ON *.* TO " + lang.Ident(name) + "@" + lang.Ident(host)
}
