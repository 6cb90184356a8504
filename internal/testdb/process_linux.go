package testdb

import "syscall"

// dieWithParent has Linux kill the server when the test process dies without
// running its cleanups, as it does after go test's timeout. The group of its
// own keeps an interrupt of the tests from reaching the server first.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
