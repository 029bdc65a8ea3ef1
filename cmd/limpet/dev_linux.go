package main

import "syscall"

// childAttributes puts a node into a process group of its own, so that Ctrl-C
// reaches it through its parent only. A bound child is told to stop when its
// parent dies in any way.
func childAttributes(bound bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if bound {
		a.Pdeathsig = syscall.SIGTERM
	}
	return a
}
