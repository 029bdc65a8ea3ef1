package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// never is a future that is not answered while the test runs.
type never struct{ end chan struct{} }

func (f never) Error() error { <-f.end; return nil }

// A node whose Raft was shut down between taking a future and answering it could
// not be closed.
func TestAFutureThatIsNeverAnsweredIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := never{make(chan struct{})}
		got := make(chan error, 1)
		go func() { got <- awaitFuture(ctx, f) }()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("it did not wait: %v", <-got)
		}
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		close(f.end)
		if err := awaitFuture(t.Context(), f); err != nil {
			t.Errorf("an answer: %v", err)
		}
	})
}
