//go:build !linux

package main

import "syscall"

// childAttributes puts a node into a process group of its own, so that Ctrl-C
// reaches it through its parent only.
func childAttributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
