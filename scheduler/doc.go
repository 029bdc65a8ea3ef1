// Package scheduler is the leader's decisions: who gets what.
//
// [Decide] is a pure function of the state with the draft of an entry applied. It
// knows no node: it adds commands to the draft, and the state machine refuses
// those that do not hold where they are applied.
//
// The order of its choices is fixed (docs/architecture.md, pins): required
// labels first, then the pin, then label weight, then the least loaded worker.
// Task runs of pinned runs go before task runs of runs that have no worker yet:
// what has begun is finished first, and a run's slots are not taken from it by
// newcomers.
package scheduler
