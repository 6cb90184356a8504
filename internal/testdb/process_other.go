//go:build !linux

package testdb

import "syscall"

// dieWithParent has no counterpart here: a test process that dies without
// running its cleanups leaves the server behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
