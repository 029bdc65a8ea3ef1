package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one start of the program.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	// code is the exit code as a shell gives it, and how is it in words; set when
	// ended is closed.
	code int
	how  string
}

// spawn starts the program. It is waited for on the operating system's thread
// that started it: the program is to end with its parent, and to Linux that is
// the thread.
func spawn(cfg *Config, env []string) (*process, error) {
	cmd := exec.Command(cfg.Command[0], cfg.Command[1:]...) //nolint:noctx // it is stopped by signals, in steps
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	cmd.Env, cmd.SysProcAttr = env, attributes()
	// A grandchild that keeps the output open must not keep the agent.
	const leftovers = 2 * time.Second
	cmd.WaitDelay = leftovers
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		_ = p.signal(syscall.SIGKILL) // what it has left behind must not speak for the next start
		p.code, p.how = outcome(cmd.ProcessState, err)
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %q: %w", cfg.Command[0], err)
	}
	return p, nil
}

// outcome gives the exit code as shells do, and words for it.
func outcome(state *os.ProcessState, err error) (code int, how string) {
	if state == nil {
		return 1, fmt.Sprint(err)
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		const shells = 128
		return shells + int(ws.Signal()), "ended by signal " + ws.Signal().String()
	}
	return state.ExitCode(), fmt.Sprintf("ended with status %d", state.ExitCode())
}

// signal sends to the program and all that it started.
func (p *process) signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process group %d: %w", s, p.cmd.Process.Pid, err)
	}
	return nil
}

// stop asks the program to end, and ends it when the time is over, or at once
// when hurry says so.
func (p *process) stop(patience time.Duration, hurry <-chan os.Signal) {
	_ = p.signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		return
	case <-timer.C:
	case <-hurry:
	}
	_ = p.signal(syscall.SIGKILL)
	<-p.ended
}
