package schema

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ddb-project/ddb/dialect"
	"github.com/ddb-project/ddb/internal/mysql/lang"
	"github.com/ddb-project/ddb/internal/mysql/sessions"
)

// withSurroundings puts the sql_mode and collation that an object was made with into
// a comment in front of its statement.
func withSurroundings(mode, collation, statement string) string {
	return fmt.Sprintf("/* sql_mode=%s collation=%s */ %s", mode, collation, statement)
}

var surroundings = regexp.MustCompile(`^/\* sql_mode=([A-Z0-9_,]*) collation=([a-z0-9_]*) \*/ `)

// definer matches the clause in front of an object's kind.
var definer = regexp.MustCompile("(?is)^(\\s*CREATE\\s+(?:OR\\s+REPLACE\\s+)?(?:ALGORITHM\\s*=\\s*\\w+\\s+)?)DEFINER\\s*=\\s*(?:`[^`]*`|'[^']*'|\\w+)(?:@(?:`[^`]*`|'[^']*'|[\\w.%]+))?\\s+")

// ofDatabase matches statements that may run although their default database is not there.
var ofDatabase = regexp.MustCompile(`(?i)^\s*(CREATE|ALTER|DROP)\s+(OR\s+REPLACE\s+)?(DATABASE|SCHEMA)\b`)

// Run executes a schema statement. Where the user may not create objects in another
// user's name, they are created in its own.
func (m *Schema) Run(ctx context.Context, c *sql.Conn, s *dialect.Statement) error {
	statement := s.SQL
	if m := surroundings.FindStringSubmatch(statement); m != nil {
		statement = statement[len(m[0]):]
		fill(&s.SQLMode, m[1])
		if s.Collation == "" {
			s.Charset, s.Collation = "utf8mb4", m[2]
		}
	}
	was, err := m.readSession(ctx, c)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	moved := s.Database != "" && s.Database != was.Database
	if moved {
		if _, err := c.ExecContext(ctx, "USE "+lang.Ident(s.Database)); err != nil && !(lang.Errno(err) == lang.ErBadDB && ofDatabase.MatchString(statement)) {
			return fmt.Errorf("run in database %q: %w", s.Database, lang.Wrap(err))
		}
	}
	set := was.enter(s)
	err = lang.Exec(ctx, c, set.there())
	if err == nil {
		_, err = c.ExecContext(ctx, statement)
		if lang.Errno(err) == lang.ErSpecific && definer.MatchString(statement) {
			_, err = c.ExecContext(ctx, definer.ReplaceAllString(statement, "${1}"))
		}
	}
	if berr := leave(ctx, c, set, moved, was.Database); err == nil && berr != nil {
		return fmt.Errorf("run: restore session: %w", berr)
	}
	return lang.Wrap(err)
}

// sessionState is what the meaning of a schema statement depends on in a session.
type sessionState struct {
	dialect.Statement
	zone    string // as it was set; Statement has what it comes to now
	clock   string // as it was set: DEFAULT, unless the program has stopped it
	patient bool   // it is the program's, and waits for locks longer than passes may
	wait    string // how long, seconds
}

func (m *Schema) readSession(ctx context.Context, c *sql.Conn) (s sessionState, err error) {
	rows, err := lang.Texts(ctx, c, "SELECT DATABASE(), @@sql_mode, @@character_set_client, @@collation_connection, @@time_zone,"+
		" TIME_FORMAT(TIMEDIFF(NOW(), UTC_TIMESTAMP()), '%H:%i'), CAST(@@timestamp AS DECIMAL(20,6)), @@lock_wait_timeout,"+
		" ABS(TIMESTAMPDIFF(SECOND, NOW(), SYSDATE())) > 1")
	if err != nil {
		return s, err
	}
	r := rows[0]
	s.Database, s.SQLMode, s.Charset, s.Collation = r[0].String, r[1].String, r[2].String, r[3].String
	s.zone, s.TimeZone = r[4].String, r[5].String
	if !strings.HasPrefix(s.TimeZone, "-") {
		s.TimeZone = "+" + s.TimeZone
	}
	s.Timestamp, s.clock = nanoseconds(r[6].String), "DEFAULT"
	if lang.IsOn(r[8].String) {
		s.clock = r[6].String
	}
	p, own := m.sessions.Purpose(c)
	s.wait, s.patient = r[7].String, (!own || p == dialect.Write) && lang.Atoi(r[7].String) > sessions.LockWait
	return s, nil
}

// settings are variables of a session, with values to set and to set back.
type settings [][3]string

func (s settings) there() string { return s.list(1) }

func (s settings) back() string { return s.list(2) }

func (s settings) list(value int) string {
	var list []string
	for _, v := range s {
		list = append(list, v[0]+"="+v[value])
	}
	return "SET " + strings.Join(list, ", ")
}

// enter returns what makes the session the one that s asks for, and fills in s where it does not ask: the program's own
// session is left as it is, but for its clock, which all nodes must read alike, and for its patience: nobody must wait for
// an open transaction with all passes waiting behind.
func (was sessionState) enter(s *dialect.Statement) settings {
	var set settings
	ask := func(name string, field *string, is, now string, value func(string) string) {
		if *field == "" {
			*field = is
		} else if *field != now {
			set = append(set, [3]string{name, value(*field), value(now)})
		}
	}
	plain := func(s string) string { return s }
	ask("sql_mode", &s.SQLMode, was.SQLMode, was.SQLMode, lang.Text)
	ask("character_set_client", &s.Charset, was.Charset, was.Charset, plain)
	ask("collation_connection", &s.Collation, was.Collation, was.Collation, plain)
	ask("time_zone", &s.TimeZone, was.TimeZone, was.zone, lang.Text)
	fill(&s.Database, was.Database)
	if was.patient {
		set = append(set, [3]string{"lock_wait_timeout", strconv.Itoa(sessions.LockWait), was.wait})
	}
	if s.Timestamp == 0 {
		s.Timestamp = was.Timestamp
	}
	at := time.Unix(0, s.Timestamp)
	return append(set, [3]string{"timestamp", fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000), was.clock})
}

func fill(field *string, from string) {
	if *field == "" {
		*field = from
	}
}

// nanoseconds parses seconds with microseconds, without the rounding of floats.
func nanoseconds(s string) int64 {
	whole, frac, _ := strings.Cut(s, ".")
	sec, _ := strconv.ParseInt(whole, 10, 64)
	frac = (frac + "000000000")[:9]
	nano, _ := strconv.ParseInt(frac, 10, 64)
	return sec*int64(time.Second) + nano
}

// leave puts the session back as it was before Run.
func leave(ctx context.Context, c *sql.Conn, set settings, moved bool, database string) error {
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), sessions.RollbackTimeout)
	defer cancel()
	err := lang.Exec(back, c, set.back())
	if err == nil && moved && database != "" {
		// The statement may have dropped that very database.
		if _, uerr := c.ExecContext(back, "USE "+lang.Ident(database)); uerr != nil && lang.Errno(uerr) != lang.ErBadDB {
			err = uerr
		}
	}
	if err != nil {
		sessions.Discard(c)
	}
	return err
}
