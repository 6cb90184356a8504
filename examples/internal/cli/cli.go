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

// flagWords are the library's words for what has a flag here.
var flagWords = strings.NewReplacer("set Options.Key on every node", "give every node DDB_KEY or --key-file", "ask clients for certificates", "ask nodes for certificates (--tls-cert, --tls-key and --tls-ca)", "set AllowInsecure", "add --insecure",
	"Options.Key", "--key", "Options.Master", "--master", "give its transport a TLS config, for example of tcp.ClientTLS", "give it --tls-ca", "give the transport of this node a certificate", "give this node --tls-cert and --tls-key", "OldKey is set and Key is not; OldKey is the one that Key replaces", "--old-key is set and --key is not; --old-key is the one that --key replaces", "set Rejoin", "add --rejoin", "open it with ID ", "give --id ", "set Master to its address", "give its address as --master",
	"open it with Role \"replica\"", "run the program replica on it", "open it with Role \"snap\"", "run the program snap on it", "open it with Role \"master\"", "run the program master on it", "open it with Role Snap", "run the program snap on it",
	"; use Begin, or a connection got from Cluster.Conn", "; only a program can keep a transaction open", "; use Begin", "; only a program can keep a transaction open")

// Line returns the error's text on one line, in the words of the command line.
func Line(err error) string { return Words(oneLine(err)) }

// Words puts the flags in place of the options that a text of the library names.
func Words(text string) string { return flagWords.Replace(text) }

func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
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
