package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// process is one that the lab started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // once done is closed

	told atomic.Int32 // the last signal that asks it to end; 0: none
}

// spawn starts a process whose output goes to the end of a file.
func spawn(log string, env []string, words []string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", words[0], err)
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(words[0], words[1:]...) //nolint:gosec,noctx // our own programs, which outlive every call
	cmd.Stdout, cmd.Stderr, cmd.Env = f, f, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", words[0], err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal tells the process and all that it started; one that has ended is no
// error.
func (p *process) signal(s syscall.Signal) {
	if !p.running() {
		return
	}
	if s == syscall.SIGTERM || s == syscall.SIGKILL {
		p.told.Store(int32(s)) //nolint:gosec // small
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, s)
}

// kill ends the process and all that it started at once, and waits for it.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// cause names the signal by which the lab asked the process to end, if it did.
func (p *process) cause() string {
	if told := p.told.Load(); told != 0 {
		return syscall.Signal(told).String()
	}
	return ""
}

const (
	// killed is the exit code of a process that a signal ended.
	killed = -1
	// exitFailure is that of a program that failed.
	exitFailure = 1
)

// exit is the code that the process ended with.
func (p *process) exit() int {
	if p.running() {
		return killed
	}
	return p.cmd.ProcessState.ExitCode()
}

const pollEvery = 20 * time.Millisecond

// until waits for a condition.
func until(ctx context.Context, patience time.Duration, what string, is func() bool) error {
	limit := time.Now().Add(patience)
	for !is() {
		if time.Now().After(limit) {
			return fmt.Errorf("waited %s for %s", patience, what)
		}
		if sleep(ctx, pollEvery) != nil {
			return errors.New("interrupted while waiting for " + what)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
