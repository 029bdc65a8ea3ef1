package ceiling

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Serve runs a stub on a free port of loopback until the context ends. It writes
// its address, one line, when it is ready. With a directory, calls are
// answered when a log there has committed them.
func Serve(ctx context.Context, out io.Writer, dir string) error {
	var commit func(context.Context, []byte) error
	if dir != "" {
		log, err := NewLog(dir)
		if err != nil {
			return err
		}
		defer log.Close()
		commit = log.Commit
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	const (
		message = 64 << 20
		window  = 1 << 20
	)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(message), grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(2*window),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	NewStub(commit).RegisterServices(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return fmt.Errorf("write the address: %w", err)
	}
	select {
	case <-ctx.Done():
		server.Stop()
		return <-ended // nil after Stop
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	}
}

// LogRate is what the bare log does.
type LogRate struct {
	CommandsPerSecond float64
	EntriesPerSecond  float64
}

// MeasureLog commits commands of so many bytes from so many callers at once.
func MeasureLog(ctx context.Context, parent string, size, callers int, length time.Duration) (LogRate, error) {
	dir, err := os.MkdirTemp(parent, ".limpet-bench-log-")
	if err != nil {
		return LogRate{}, fmt.Errorf("make a directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log, err := NewLog(dir)
	if err != nil {
		return LogRate{}, err
	}
	defer log.Close()
	data := make([]byte, size)
	var stop atomic.Bool
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for !stop.Load() && log.Commit(ctx, data) == nil {
			}
		})
	}
	warm := length / 5
	timer := time.NewTimer(warm)
	defer timer.Stop()
	wait := func() {
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	wait()
	commands, entries := log.Counts()
	start := time.Now()
	timer.Reset(length)
	wait()
	seconds := time.Since(start).Seconds()
	c, e := log.Counts()
	stop.Store(true)
	group.Wait()
	return LogRate{float64(c-commands) / seconds, float64(e-entries) / seconds}, ctx.Err()
}
