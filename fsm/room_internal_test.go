package fsm

import "testing"

func TestTheLinesOfAllRunsHaveALimit(t *testing.T) {
	s := newState()
	s.lineBytes = maxAllLineBytes - 10
	if s.keeps("r", 11) {
		t.Error("a line beyond the limit of all runs is kept")
	}
	if !s.keeps("r", 10) || s.lineBytes != maxAllLineBytes {
		t.Errorf("a line within the limit is not kept; %d bytes are counted", s.lineBytes)
	}
}
