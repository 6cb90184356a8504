//go:build !unix

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// lockFile makes a file that nobody may have made before. Unlike flock it outlives a
// crash, so the error says how to go on.
func lockFile(path string) (release func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w; if that process is gone, remove the file", heldBy(path))
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteString(strconv.Itoa(os.Getpid())); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return func() error { return errors.Join(f.Close(), os.Remove(path)) }, nil
}

// links returns how many names the file has, as far as that is known.
func links(string) (uint64, error) { return 1, nil }
