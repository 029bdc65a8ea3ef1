// Package history is what a test of the fault lab has seen: one flat list of
// events told by clients, workers, nodes and the lab itself. The simulation
// and the lab of processes write it, the checkers read it.
package history
