// Package cli is what the example programs share: their flags, how a --db URL
// becomes an *sql.DB, how an error becomes one clear line, and how they stop.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ddb-project/ddb/remedy"
)

// errUsage is a mistake on the command line.
var errUsage = errors.New("run with -h for the flags")

// Main runs a program until it ends by itself or by SIGINT or SIGTERM, which cancel
// the context, and exits: 0 after -h, after a signal and after success, 2 for a
// mistake on the command line, 1 for any other error, printed as one line. A second signal
// ends the program at once.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:])
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // the signal's doing
	}
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, Line(err))
		os.Exit(2)
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, Line(err))
	os.Exit(1)
}

// Line returns the error's text on one line, with its remedies in the words of the command line.
func Line(err error) string {
	lines := strings.FieldsFunc(remedy.Words(err, flagFor), func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}

// flagFor words a remedy for who started the program: "" if only another program can do it.
func flagFor(r remedy.Remedy) string {
	switch r.Action {
	case remedy.SetKey:
		return `give every node DDB_KEY or --key-file ("openssl rand -hex 32" makes one)`
	case remedy.CheckKey:
		return "check --key-file or DDB_KEY"
	case remedy.NewKey:
		return "--old-key is set and --key is not: give as --key the one that replaces it"
	case remedy.ClientCertificates:
		return "ask nodes for certificates (--tls-cert, --tls-key and --tls-ca)"
	case remedy.AllowInsecure:
		return "add --insecure if that is what you mean"
	case remedy.DialTLS:
		return "give it --tls-ca"
	case remedy.ListenTLS:
		return "give this node --tls-cert and --tls-key"
	case remedy.SetMaster:
		return "set --master to the address where the master listens for nodes, not to that of its console"
	case remedy.CheckMaster:
		return "check --master"
	case remedy.Rejoin:
		return "add --rejoin to give up what its database holds"
	case remedy.SetID:
		return fmt.Sprintf("give --id %q", r.Value)
	case remedy.SetRole:
		return "run the program " + r.Value + " on it"
	case remedy.Detach:
		return "take it out of the cluster first"
	case remedy.Begin:
		return "only a program can keep a transaction open"
	case remedy.OwnConn:
		return ""
	}
	return r.Text
}

// NewFlags returns a flag set whose -h shows what the program does, its flags with two
// dashes, and the text after them.
func NewFlags(name, does, after string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // Parse returns the error; Main prints it once
	fs.Usage = func() {
		fmt.Printf("%s\n\nUsage: go run ./examples/%s [flags]\n\n", does, name)
		fs.VisitAll(printFlag)
		fmt.Printf("\n%s\n", strings.TrimSpace(after))
	}
	return fs
}

func printFlag(f *flag.Flag) {
	value, usage := flag.UnquoteUsage(f)
	fmt.Printf("  --%s", f.Name)
	if value != "" {
		fmt.Printf(" %s", value)
	}
	fmt.Printf("\n        %s", usage)
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
		fmt.Printf(" (default %s)", f.DefValue)
	}
	fmt.Println()
}

// Parse parses the arguments, of which none may be left over. It prints the help only
// if that is asked for: after a mistake one line is easier to read.
func Parse(fs *flag.FlagSet, args []string) error {
	help := fs.Usage
	fs.Usage = func() {}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		help()
		return err
	case err != nil:
		return Usage("%v", err)
	case strings.Contains(fs.Arg(0), "@"):
		return Usage("unexpected argument, not repeated since it may hold a password: write --db URL")
	case fs.NArg() > 0:
		return Usage("unexpected argument %q", fs.Arg(0))
	}
	return nil
}

// Usage returns the error for a mistake on the command line.
func Usage(format string, args ...any) error {
	return fmt.Errorf(format+"; %w", append(args, errUsage)...)
}
