// Package check judges histories: one checker for each of the ten invariants,
// each in a file of its own. A checker believes a worker about what it executed
// and a client about what it was told; the state's own word counts only where
// the question is what the state says.
//
// A checker asks of a history only what is in it: events that a lab cannot see
// are not missed.
package check
