package testdb

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
)

// ErrNotInstalled says that the machine has no MariaDB server.
var ErrNotInstalled = errors.New(
	"testdb: mariadbd or mariadb-install-db not found: install Debian's mariadb-server or run ./scripts/test")

// installation names the programs of one MariaDB.
type installation struct {
	server  string // mariadbd
	install string // mariadb-install-db
}

func findInstallation() (installation, error) {
	server, err1 := findProgram("mariadbd")
	install, err2 := findProgram("mariadb-install-db")
	if err1 != nil || err2 != nil {
		return installation{}, ErrNotInstalled
	}
	return installation{server, install}, nil
}

// findProgram looks in PATH and then where Debian keeps servers, which is not
// in every user's PATH.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// userFlag lets mariadbd run as root, which it otherwise refuses.
func userFlag() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// installFlags make a data directory that is quick to copy: no test database
// and a small redo log, which the server enlarges at its first start. Root gets
// no password that would let others on the machine in.
func installFlags() []string {
	flags := []string{
		"--auth-root-authentication-method=socket",
		"--skip-test-db",
		"--skip-name-resolve",
		"--innodb-log-file-size=8M",
	}
	if u, err := user.Current(); err == nil {
		flags = append(flags, "--auth-root-socket-user="+u.Username)
	}
	return append(flags, userFlag()...)
}

// templates holds the initialised data directory of each installation that this
// process has used.
var templates struct {
	sync.Mutex
	dirs map[installation]string
}

// copyDataDir makes dir a data directory as mariadb-install-db leaves it.
func (inst installation) copyDataDir(dir string) error {
	template, err := inst.template()
	if err != nil {
		return err
	}
	if template == "" {
		return inst.initialise(dir)
	}
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		return fmt.Errorf("testdb: copy data directory: %w", err)
	}
	return nil
}

// template returns a data directory to copy, "" when the user has no folder to
// keep one in. mariadb-install-db takes seconds and a copy takes a tenth of one,
// so the directory is kept for later processes, by MariaDB version.
func (inst installation) template() (string, error) {
	templates.Lock()
	defer templates.Unlock()
	if dir, ok := templates.dirs[inst]; ok {
		return dir, nil
	}
	dir, err := inst.cachedTemplate()
	if err != nil {
		return "", err
	}
	if templates.dirs == nil {
		templates.dirs = make(map[installation]string)
	}
	templates.dirs[inst] = dir
	return dir, nil
}

// cachedTemplate lies in the user's cache rather than in the temporary folder,
// which others may write to and whose old files are deleted one by one.
func (inst installation) cachedTemplate() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil
	}
	cache = filepath.Join(cache, "ddb-test")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", nil
	}
	version, err := exec.Command(inst.server, "--no-defaults", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("testdb: %s --version: %w", inst.server, err)
	}
	key := sha256.Sum256(fmt.Appendf(version, "%q", installFlags()))
	dir := filepath.Join(cache, fmt.Sprintf("mariadb-%x", key[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, inst.createTemplate(cache, dir)
}

// createTemplate makes dir appear at once and complete, so that processes that
// create it at the same time do not disturb each other.
func (inst installation) createTemplate(cache, dir string) error {
	tmp, err := os.MkdirTemp(cache, "tmp")
	if err != nil {
		return fmt.Errorf("testdb: %w", err)
	}
	defer os.RemoveAll(tmp)
	data := filepath.Join(tmp, "data")
	if err := inst.initialise(data); err != nil {
		return err
	}
	err = os.Rename(data, dir)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was first
	}
	return err
}

func (inst installation) initialise(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("testdb: %w", err)
	}
	// A server that starts deletes every "#sql" file in its temporary folder, those
	// of another that is starting too: each has a folder of its own.
	tmp, err := os.MkdirTemp("", "ddb")
	if err != nil {
		return fmt.Errorf("testdb: %w", err)
	}
	defer os.RemoveAll(tmp)
	args := append([]string{"--no-defaults", "--datadir=" + dir}, installFlags()...)
	cmd := exec.Command(inst.install, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("testdb: mariadb-install-db: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
