// Package cluster is one coordinator node: Raft for what is true, gossip for
// who is there, and the way of a command from any node into the log and back.
//
// A [Node] replicates an [fsm.Machine]. It answers three questions and nothing
// else: which node leads, what was committed, and which workers are still
// heard of. What a command means is the fsm's business, what to assign to whom
// is decided by [Config].Decide, and what the outside sees is told to
// [Config].Sink.
//
// # Contract of the caller
//
//  1. [Config].Decide is pure and is called on the leader only, from one
//     goroutine at a time.
//  2. [Config].Sink and [Config].OnIsolated are called from goroutines of the
//     node, never from the one that applies; they may read the [fsm.View] but
//     must not wait for a [Node.Propose] of their own.
//  3. A command's request id makes a retry apply once: after an error a caller
//     may propose the same command again, unchanged.
//  4. [Node.Close] is for a restart, [Node.Leave] for good.
//
// DESIGN.md has the reasons and lists every goroutine.
package cluster
