package cli

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/console"
)

// Export writes the node's database to a file of SQL statements, packed if its name ends in
// .gz. The file appears when it is complete.
func (n *Node) Export(ctx context.Context, c *ddb.Cluster, file string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part") // 0600: it holds all the data
	if err != nil {
		return fmt.Errorf("--export %s: %w", file, err)
	}
	defer os.Remove(f.Name()) // after the rename it does nothing
	bar := newBar("export", -1)
	if err := n.export(ctx, c, io.MultiWriter(f, bar), strings.HasSuffix(file, ".gz")); err != nil {
		return errors.Join(fmt.Errorf("--export %s: %w", file, err), f.Close())
	}
	if err := errors.Join(bar.Finish(), f.Sync(), f.Close(), os.Rename(f.Name(), file)); err != nil {
		return fmt.Errorf("--export %s: %w", file, err)
	}
	fmt.Printf("exported to %s\n", file)
	return nil
}

func (n *Node) export(ctx context.Context, c *ddb.Cluster, w io.Writer, pack bool) error {
	out := bufio.NewWriter(w)
	o := console.ExportOptions{Server: n.server()}
	if !pack {
		return errors.Join(console.Export(ctx, c, out, o), out.Flush())
	}
	packed := gzip.NewWriter(out)
	return errors.Join(console.Export(ctx, c, packed, o), packed.Close(), out.Flush())
}

// Import runs the statements of a file, plain or packed, through the cluster.
func Import(ctx context.Context, c *ddb.Cluster, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("--import: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("--import: %w", err)
	}
	bar := newBar("import", info.Size())
	var last console.Progress
	err = console.Import(ctx, c, io.TeeReader(f, bar), console.ImportOptions{Progress: func(p console.Progress) { last = p }})
	if err != nil {
		return errors.Join(fmt.Errorf("--import %s: %w", file, err), bar.Exit())
	}
	if err := bar.Finish(); err != nil {
		return fmt.Errorf("--import %s: %w", file, err)
	}
	fmt.Printf("imported %s: %d statements, %d rows\n", file, last.Statements, last.Rows)
	return nil
}

// newBar returns a progress bar on stderr over so many bytes, -1 if that is unknown. It is silent where nobody
// looks at it.
func newBar(what string, bytes int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stderr.Fd()))),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(os.Stderr) }),
	)
}
