package lab

import "context"

// Scenario is a named course of faults, and what must hold in it beside the
// invariants.
type Scenario struct {
	Name  string
	About string
	// Workers is how many there are; 0 for as many as were asked for.
	Workers int
	// Short: it takes less than half a minute, and is one of the daily tests.
	Short bool

	wired bool // needs namespaces
	quiet bool // no clients but its own
	play  func(ctx context.Context, l *Lab) error
}

// Scenarios gives them all.
func Scenarios() []Scenario { return nil }
