package pace

import (
	"testing"
	"time"
)

// A pacer that has lost its trust gets it back, whatever came before.
func TestThePacerTriesAgain(t *testing.T) {
	p := New()
	step := func(all bool) (waits bool) {
		p.Committed(32, 32, time.Millisecond)
		n, _ := p.Want()
		if n > 0 {
			p.Came(all)
		}
		return n > 0
	}
	for range 50 {
		step(false)
	}
	if p.trust > 0.2 {
		t.Fatalf("trust is %.2f after 50 misses", p.trust)
	}
	waited := 0
	for range 1000 {
		if step(true) {
			waited++
		}
	}
	if waited < 900 || p.trust != 1 {
		t.Errorf("of 1,000 entries %d waited, trust is %.2f", waited, p.trust)
	}
}
