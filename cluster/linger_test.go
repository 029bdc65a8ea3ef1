package cluster

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// callers make calls one after the other for a while, each so long after the
// answer to the one before; they give the longest that a call took.
func callers(l *fakeLog, p *proposer, n int, long time.Duration, think func(caller int) time.Duration) (longest time.Duration) {
	var mu sync.Mutex
	answers := map[string]chan struct{}{}
	l.machine.onResults = func(results []fsm.Result) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range results {
			if c, ok := answers[r.RequestID]; ok {
				close(c)
				delete(answers, r.RequestID)
			}
		}
	}
	var all sync.WaitGroup
	until := time.Now().Add(long)
	for i := range n {
		all.Go(func() {
			for call := 0; time.Now().Before(until); call++ {
				cmds := commands(i*1000+call, 1)
				done := make(chan struct{})
				mu.Lock()
				answers[string(cmds[0].GetRequestId())] = done
				mu.Unlock()
				from := time.Now()
				p.queue.put(offered(cmds))
				<-done
				mu.Lock()
				longest = max(longest, time.Since(from))
				mu.Unlock()
				time.Sleep(think(i))
			}
		})
	}
	all.Wait()
	return longest
}

// oneByOne lets callers that were answered together come again one after the other.
func oneByOne(caller int) time.Duration { return time.Duration(caller) * 20 * time.Microsecond }

func TestALoneCallerWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const commit = 2 * time.Millisecond
		l := newFakeLog(commit)
		p, _, end := l.propose(t, nil)
		defer end()
		synctest.Wait()
		think := func(int) time.Duration { return time.Millisecond }
		if took := callers(l, p, 1, 50*commit, think); took != commit {
			t.Errorf("a call took %v; a commit takes %v", took, commit)
		}
	})
}

// Callers that hear of their answers together come again one after the other: the
// first does not get an entry that all others have to wait for.
func TestCallersInWavesShareEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const commit, n = 2 * time.Millisecond, 32
		l := newFakeLog(commit)
		p, _, end := l.propose(t, nil)
		defer end()
		synctest.Wait()
		took := callers(l, p, n, 100*commit, oneByOne)
		if entries, cmds := l.count(); cmds < entries*n*2/3 {
			t.Errorf("%d callers made %d calls in %d entries", n, cmds, entries)
		}
		if took > 3*commit {
			t.Errorf("a call took %v; a commit takes %v", took, commit)
		}
	})
}

// When most callers have gone, those that are left do not go on waiting for them.
func TestThePacerForgetsCallersThatWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const commit = 2 * time.Millisecond
		l := newFakeLog(commit)
		p, _, end := l.propose(t, nil)
		defer end()
		synctest.Wait()
		callers(l, p, 64, 20*commit, oneByOne)
		callers(l, p, 1, 50*commit, oneByOne)
		if took := callers(l, p, 1, 50*commit, oneByOne); took != commit {
			t.Errorf("a call took %v; a commit takes %v", took, commit)
		}
	})
}
