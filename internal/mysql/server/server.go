package server

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

// Server is a database server as ddb finds it. Nothing of it changes but the list of databases.
type Server struct {
	MariaDB       bool   // and not MySQL
	OwnDatabase   string // name of ddb's own database
	Process       bool   // the user may read InnoDB's dictionary
	StatementSize int    // limit of a statement's size, bytes

	bound  []string                 // the databases that it was bound to; the first one is the primary one
	all    atomic.Pointer[[]string] // bound, and those that Replicate has added
	fold   bool                     // lower_case_table_names != 0
	user   string                   // the server's CURRENT_USER
	packet int                      // max_allowed_packet, bytes
}

// Inspect checks the server's version, that a database is selected or named, and that
// the user has the privileges that ddb needs. Errors wrap dialect.ErrPrivilege where
// a GRANT or a server variable is missing; their words name it.
func Inspect(ctx context.Context, q dialect.Querier, databases []string) (*Server, error) {
	s := &Server{}
	if err := s.identify(ctx, q, databases); err != nil {
		return nil, err
	}
	if err := s.checkPrivileges(ctx, q); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) identify(ctx context.Context, q dialect.Querier, databases []string) error {
	rows, err := lang.Texts(ctx, q, "SELECT VERSION(), DATABASE(), @@lower_case_table_names, @@max_allowed_packet, CURRENT_USER()")
	if err != nil {
		return fmt.Errorf("connect: %w", lang.Wrap(err))
	}
	r := rows[0]
	var major, minor int
	fmt.Sscanf(r[0].String, "%d.%d", &major, &minor)
	s.MariaDB = strings.Contains(strings.ToLower(r[0].String), "mariadb")
	old := major*100+minor < 800
	if s.MariaDB {
		old = major*100+minor < 1006
	}
	if old {
		return fmt.Errorf("server version %s is too old: ddb needs MariaDB 10.6 or MySQL 8.0", r[0].String)
	}
	s.fold = r[2].String != "0"
	s.packet = lang.Atoi(r[3].String)
	s.user = r[4].String
	s.StatementSize = min(maxStatement, s.packet/2)
	bound := slices.Clone(databases)
	if len(bound) == 0 && r[1].Valid {
		bound = []string{r[1].String}
	}
	if len(bound) == 0 {
		return errors.New("no database: name one in the DSN or in Databases")
	}
	for i, d := range bound {
		if s.fold {
			bound[i] = strings.ToLower(d)
		}
		switch strings.ToLower(d) {
		case "", "mysql", "information_schema", "performance_schema", "sys":
			return fmt.Errorf("database %q cannot be replicated: name the program's own databases", d)
		}
	}
	s.OwnDatabase = OwnDatabaseOf(bound[0])
	if len(s.OwnDatabase) > 64 {
		return fmt.Errorf("database name %q is too long: ddb needs room for %q (64 characters)", bound[0], s.OwnDatabase)
	}
	if slices.Contains(bound, s.OwnDatabase) {
		return fmt.Errorf("database %q is ddb's own: leave it out of Databases", s.OwnDatabase)
	}
	s.bound = bound
	s.all.Store(&bound)
	return nil
}

// With returns the databases that it was bound to, and more.
func (s *Server) With(more []string) []string {
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

// Replicate makes these the replicated databases; see With.
func (s *Server) Replicate(all []string) { s.all.Store(&all) }

// Databases lists the replicated databases; the first one is the primary one.
func (s *Server) Databases() []string { return *s.all.Load() }

// Own returns the quoted name of ddb's own table of that short name.
func (s *Server) Own(name string) string { return lang.Qualified(s.OwnDatabase, name) }

// ConnectError says what to check when the first connection does not come about.
func ConnectError(err error) error {
	var network *net.OpError
	switch {
	case lang.Errno(err) == 1045:
		return fmt.Errorf("connect: %w; check the user and the password in the DSN", lang.Wrap(err))
	case errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("connect: %w; is the server up, and are host and port in the DSN right?", err)
	}
	return fmt.Errorf("connect: %w", lang.Wrap(err))
}

// MostBytes is how large a value the server stores, less some room for what goes with it.
func (s *Server) MostBytes() int { return s.packet - s.packet/16 }

// FileName is the expression for a name as the server writes it in its files and InnoDB in its dictionary.
func (s *Server) FileName(expression string) string {
	if !s.Process {
		return "NULL" // nobody will ask
	}
	return "CONVERT(CONVERT(" + expression + " USING filename) USING binary)"
}
