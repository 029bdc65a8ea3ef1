package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Raft's leader makes an attempt at a node that is away several times a second, and
// says each time that it failed.
const (
	missedHeartbeat = "failed to heartbeat to"
	missedEvery     = 30 * time.Second
)

// seldom keeps log lines that say the same again and again to one in some time.
type seldom struct {
	now  func() time.Time
	mu   sync.Mutex
	said map[string]time.Time // by the node that is away: when that was said
}

func newSeldom(now func() time.Time) *seldom {
	return &seldom{now: now, said: map[string]time.Time{}}
}

// exclude says which lines are left out ([hclog.LoggerOptions]). The first line about a
// node is never one of them, nor is one at a time when [missedEvery] is over.
func (s *seldom) exclude(_ hclog.Level, msg string, args ...any) bool {
	if msg != missedHeartbeat {
		return false
	}
	peer := ""
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "peer" {
			peer = fmt.Sprint(args[i+1])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if at, ok := s.said[peer]; ok && now.Sub(at) < missedEvery {
		return true
	}
	s.said[peer] = now
	return false
}
