// Package pace decides how long an entry of the log waits for company.
package pace

import (
	"sync/atomic"
	"time"
)

const (
	// lingerShare is the part of the commands under way that an entry waits for.
	lingerShare = 0.9
	// leastLinger is how many have to be under way before it is worth waiting.
	leastLinger = 4
	// lingerOf a commit is the longest wait, and lingerMost whatever a commit takes.
	lingerOf   = 1.0
	lingerMost = 5 * time.Millisecond
	// regain is how trust comes back, an entry, while nothing is waited for.
	regain = 1.02
	// newest is the weight of the newest in an average.
	newest = 0.2
)

// Pacer decides how long an entry waits for company when none is in flight.
//
// Callers that wait for an answer come in waves: an entry is committed, its
// callers hear of it, and go on with what is next. The first of them would get an
// entry of their own, and make all others wait for it. The pacer knows about how
// many are under way, and lets the entry wait for most of them, no longer than a
// commit takes. When they do not come, it expects fewer. Want and Came are for one
// goroutine; Committed may be called beside them.
type Pacer struct {
	commands float64      // under way at a commit: committed by it, or waiting
	trust    float64      // 0 to 1: how well that told what comes
	took     atomic.Int64 // nanoseconds from proposal to commit, on the average
	seen     atomic.Int64 // commands under way at the latest commit
}

// New makes a pacer that expects that who is under way comes.
func New() *Pacer { return &Pacer{trust: 1} }

// Committed is told of an entry with n commands, when so many wait.
func (p *Pacer) Committed(n, waiting int, took time.Duration) {
	old := p.took.Load()
	if old == 0 {
		old = int64(took)
	}
	p.took.Store(old + int64(newest*float64(int64(took)-old)))
	p.seen.Store(int64(n + waiting))
}

// Want gives how many commands an entry should have, and how long it may wait
// for them.
func (p *Pacer) Want() (commands int, wait time.Duration) {
	seen := float64(p.seen.Load())
	p.commands = max(seen, p.commands+newest*(seen-p.commands))
	n := int(p.commands * lingerShare * p.trust)
	if n < leastLinger {
		p.trust = min(1, p.trust*regain) // it is not put to the test meanwhile
		return 0, 0
	}
	return n, min(lingerMost, time.Duration(lingerOf*float64(p.took.Load())))
}

// Came is told whether what was wanted came in time.
func (p *Pacer) Came(all bool) {
	if all {
		p.trust = 1
		return
	}
	p.trust *= 1 - newest
}
