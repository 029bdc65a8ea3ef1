package agent

import "syscall"

// attributes puts the program into a process group of its own, and lets it end
// with the agent: it could not work without.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
