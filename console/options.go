package console

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/ddb-project/ddb"
)

// Access is what a token permits. Each level includes the one below.
type Access int

// The levels of access.
const (
	Read  Access = iota + 1 // look at the cluster, read the program's tables
	Write                   // also change rows of the program's tables, and settle conflicts
	Admin                   // also change the schema, administer the database, export, import, take nodes out, see everybody's statements
)

// String returns the name in lower case.
func (a Access) String() string {
	switch a {
	case Read:
		return "read"
	case Write:
		return "write"
	case Admin:
		return "admin"
	}
	return "none"
}

// rights are what statements of that access may do. Whether they do more is for [ddb.Cluster.Allow] to say.
func (a Access) rights() ddb.Rights {
	switch a {
	case Read:
		return ddb.ReadRows
	case Write:
		return ddb.ReadRows | ddb.ChangeRows
	case Admin:
		return ddb.ReadRows | ddb.ChangeRows | ddb.ChangeSchema | ddb.Administer
	}
	return ddb.NoRights
}

// ParseAccess is the reverse of String. The error names the levels.
func ParseAccess(s string) (Access, error) {
	for _, a := range []Access{Read, Write, Admin} {
		if a.String() == s {
			return a, nil
		}
	}
	return 0, fmt.Errorf("console: access %q is none of read, write, admin", s)
}

// Server says how mariadb-dump reaches the local MariaDB server. The zero value uses the
// client's own defaults.
type Server struct {
	Host     string // or Socket
	Port     int    // default 3306
	Socket   string
	User     string
	Password string // handed over in a private file, never as an argument
	Database string // the connection's database; only said where nothing else tells
}

// Options configure a Handler. The zero value serves callers on the same machine, all as
// administrators.
type Options struct {
	// Token is the administrator's. Empty, and no Tokens: no token is asked for, and only
	// requests addressed to the loopback interface are answered.
	Token string
	// Tokens are further tokens and what they permit. A token should have 16 characters or more.
	Tokens map[string]Access
	// Logger gets a line for each internal error, and one a minute that counts the wrong tokens. Default: none.
	Logger hclog.Logger
	// Database tells how to reach the local MariaDB server, for export. See [ServerFromDSN].
	Database Server
	// MaxRows limits the rows of one answer; a request may ask for fewer. Default 100,000.
	MaxRows int
	// MaxBytes limits the bytes of one answer, which is cut off after the row that reaches it, and of one row, which is
	// refused if it is larger. Default 16 MiB.
	MaxBytes int64
	// MaxBody limits the bytes of a request's body, except an import's. Default 4 MiB.
	MaxBody int64
	// MaxImport limits the bytes of an import. Default 64 GiB.
	MaxImport int64
	// Timeout limits a statement of the API. Default 60 s.
	Timeout time.Duration
	// MaxStreams limits how many clients follow the events at once. Default 256.
	MaxStreams int
	// MaxStatements limits the statements that run at once. Default 64.
	MaxStatements int
	// LogSize is how many executed statements are remembered. Default 1000.
	LogSize int
	// Sample is the interval of the points that the page plots; 300 are kept. Default 1 s.
	Sample time.Duration
}

const samples = 300 // points kept per node

func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	tokens := make(map[string]Access, len(o.Tokens)+1)
	for t, a := range o.Tokens {
		if t == "" {
			return o, fmt.Errorf("console: Options.Tokens holds an empty token")
		}
		if a < Read || a > Admin {
			return o, fmt.Errorf("console: Options.Tokens holds the access %d; use Read, Write or Admin", a)
		}
		tokens[t] = a
	}
	if o.Token != "" {
		tokens[o.Token] = Admin
	}
	o.Tokens = tokens
	setDefault(&o.MaxRows, 100_000)
	setDefault(&o.MaxBytes, 16<<20)
	setDefault(&o.MaxBody, 4<<20)
	setDefault(&o.MaxImport, 64<<30)
	setDefault(&o.Timeout, time.Minute)
	setDefault(&o.MaxStreams, 256)
	setDefault(&o.MaxStatements, 64)
	setDefault(&o.LogSize, 1000)
	setDefault(&o.Sample, time.Second)
	return o, nil
}

func setDefault[T ~int | ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
