package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// samples are measured times; several goroutines may add to them.
type samples struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// at gives a percentile: the smallest value that so many of a hundred do not
// exceed.
func (s *samples) at(percent int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	slices.Sort(s.all)
	i := (len(s.all)*percent + 99) / 100
	return s.all[max(i, 1)-1]
}

func (s *samples) String() string {
	return fmt.Sprintf("p50 %.2f s, p99 %.2f s (n=%d)", s.at(50).Seconds(), s.at(99).Seconds(), len(s.all))
}

// aim says whether the 99th percentile is as good as it shall be.
func (l *lab) aim(s *samples, v victim) error {
	if p := s.at(99); p > v.aim && !l.noAims {
		return fmt.Errorf("%s: p99 is %s, aimed at %s", v.name, p.Round(time.Millisecond), v.aim)
	}
	return nil
}
