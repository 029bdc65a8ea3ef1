//go:build !linux

package agent

import "syscall"

// attributes puts the program into a process group of its own. Where there is no
// signal at the death of a parent, a program that outlives its agent finds that
// its endpoint is gone.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
