//go:build unix

package sqlite

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lockFile holds a file with flock, which ends with the process.
func lockFile(path string) (release func() error, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, heldBy(path)
			}
			return nil, err
		}
		// Whoever held it may have removed it in between: the lock counts only on the
		// file that has the name.
		mine, err := f.Stat()
		if err == nil {
			var there os.FileInfo
			if there, err = os.Stat(path); err == nil && os.SameFile(mine, there) {
				err = f.Truncate(0)
				if err == nil {
					_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
				}
				if err != nil {
					f.Close()
					return nil, err
				}
				return func() error { return errors.Join(os.Remove(path), f.Close()) }, nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
}

// links returns how many names the file has.
func links(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil // it is made by the first write
	}
	return uint64(st.Nlink), err
}
