package bench

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
)

// reporter is a server of one call, which does what a test says.
type reporter struct {
	compat.UnimplementedDispatcherServer
	take func(context.Context, *compat.StepActionEvent) (*compat.ActionEventResponse, error)
}

func (r *reporter) SendStepActionEvent(ctx context.Context, e *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
	return r.take(ctx, e)
}

type takes = func(context.Context, *compat.StepActionEvent) (*compat.ActionEventResponse, error)

func echo(_ context.Context, e *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
	return &compat.ActionEventResponse{WorkerId: e.GetWorkerId()}, nil
}

// serving runs a server at an address, "" for a free one.
func serving(t *testing.T, addr string, take takes, opts ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	const large = 16 << 20
	s := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(large))...)
	compat.RegisterDispatcherServer(s, &reporter{take: take})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	return s, l.Addr().String()
}

func client(t *testing.T, addr string) compat.DispatcherClient {
	t.Helper()
	c := newLean(addr, "secret", nil)
	t.Cleanup(func() { _ = c.Close() })
	return compat.NewDispatcherClient(c)
}

func TestCallsCarryTheTokenAndGiveTheAnswer(t *testing.T) {
	_, addr := serving(t, "", func(ctx context.Context, e *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		return &compat.ActionEventResponse{WorkerId: e.GetWorkerId(), TenantId: strings.Join(md.Get("authorization"), ",")}, nil
	})
	c := client(t, addr)
	for range 3 { // the second time the headers come from the table
		r, err := c.SendStepActionEvent(t.Context(), &compat.StepActionEvent{WorkerId: "w"})
		if err != nil || r.GetWorkerId() != "w" || r.GetTenantId() != "bearer secret" {
			t.Fatalf("got %v, %v", r, err)
		}
	}
}

func TestErrorsHaveTheirCodeAndText(t *testing.T) {
	_, addr := serving(t, "", func(context.Context, *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "100 % full: später")
	})
	_, err := client(t, addr).SendStepActionEvent(t.Context(), &compat.StepActionEvent{})
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "100 % full: später" {
		t.Errorf("error is %v", err)
	}
	if _, err = client(t, addr).ReleaseSlot(t.Context(), &compat.ReleaseSlotRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("error is %v, want Unimplemented", err)
	}
}

func TestLargeMessagesPassThroughSmallWindows(t *testing.T) {
	_, addr := serving(t, "", func(_ context.Context, e *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
		return &compat.ActionEventResponse{WorkerId: e.GetEventPayload()}, nil
	}, grpc.InitialWindowSize(1<<16), grpc.InitialConnWindowSize(1<<16))
	c := client(t, addr)
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 1<<18+i)
			r, err := c.SendStepActionEvent(t.Context(), &compat.StepActionEvent{EventPayload: text})
			if err != nil || r.GetWorkerId() != text {
				t.Errorf("%d bytes came back, %v; want %d", len(r.GetWorkerId()), err, len(text))
			}
		})
	}
	group.Wait()
}

func TestNoMoreCallsAtOnceThanTheServerTakes(t *testing.T) {
	const most = 4
	var now, worst atomic.Int64
	_, addr := serving(t, "", func(ctx context.Context, e *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for w := worst.Load(); n > w && !worst.CompareAndSwap(w, n); w = worst.Load() {
		}
		return echo(ctx, e)
	}, grpc.MaxConcurrentStreams(most))
	c := client(t, addr)
	// The first call waits for nothing; with its answer the limit is known.
	if _, err := c.SendStepActionEvent(t.Context(), &compat.StepActionEvent{}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := c.SendStepActionEvent(t.Context(), &compat.StepActionEvent{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if worst.Load() > most {
		t.Errorf("%d calls at once, want %d at most", worst.Load(), most)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	seen := make(chan bool, 2) // that the call has ended, and whether it had a deadline
	_, addr := serving(t, "", func(ctx context.Context, _ *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
		_, hasEnd := ctx.Deadline()
		<-ctx.Done() // both ends hear of it
		seen <- hasEnd
		return nil, status.FromContextError(ctx.Err()).Err()
	})
	c := client(t, addr)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.SendStepActionEvent(short, &compat.StepActionEvent{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error is %v, want DeadlineExceeded", err)
	}
	if !<-seen {
		t.Error("the server knows no deadline")
	}
	gone, stop := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, stop)
	if _, err := c.SendStepActionEvent(gone, &compat.StepActionEvent{}); status.Code(err) != codes.Canceled {
		t.Errorf("error is %v, want Canceled", err)
	}
	if <-seen {
		t.Error("the server knows a deadline of a call without one")
	}
}

func TestAServerThatDiesAndComesBack(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(*grpc.Server)
	}{{"killed", (*grpc.Server).Stop}, {"stopped with grace", (*grpc.Server).GracefulStop}} {
		t.Run(c.name, func(t *testing.T) {
			began, release := make(chan struct{}, 1), make(chan struct{})
			server, addr := serving(t, "", func(ctx context.Context, e *compat.StepActionEvent) (*compat.ActionEventResponse, error) {
				began <- struct{}{}
				select {
				case <-release:
				case <-ctx.Done():
				}
				return echo(ctx, e)
			})
			d := client(t, addr)
			answer := make(chan error, 1)
			go func() {
				_, err := d.SendStepActionEvent(t.Context(), &compat.StepActionEvent{})
				answer <- err
			}()
			<-began
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				c.stop(server)
			}()
			if c.name == "killed" {
				if err := <-answer; status.Code(err) != codes.Unavailable {
					t.Errorf("a call of a server that was killed: %v, want Unavailable", err)
				}
			} else {
				time.Sleep(20 * time.Millisecond) // GOAWAY is on its way
				close(release)
				if err := <-answer; err != nil {
					t.Errorf("a call that was under way: %v", err)
				}
			}
			<-stopped
			if _, err := d.SendStepActionEvent(t.Context(), &compat.StepActionEvent{}); status.Code(err) != codes.Unavailable {
				t.Errorf("without a server: %v, want Unavailable", err)
			}
			serving(t, addr, echo)
			if _, err := d.SendStepActionEvent(t.Context(), &compat.StepActionEvent{}); err != nil {
				t.Errorf("the server is back: %v", err)
			}
		})
	}
}
