// Package sim plays a whole cluster in virtual time: the state machine, the
// scheduler, the nodes with Raft, proposer, forwarder and lease manager, and the
// session hub are the real ones. The network, the log stores, the wall clocks,
// the workers and the clients are simulated, inside a testing/synctest bubble.
//
// One seed is one scenario: a script of faults and calls is made from it, played,
// then all faults heal, and the history is judged by the checkers.
package sim
