// Package agent runs a worker program beside a local agent, which gives any
// program, written with any SDK and unchanged, what the Go SDK has built in: a
// stable identity, membership in gossip, failover between the nodes, and a drain
// before it stops.
//
// The program connects to the agent (proxy.go), and the agent to the cluster. The
// agent keeps the program's streams open while nodes come and go (listen.go,
// results.go), repeats its calls at another node under one request id (unary.go),
// and tells the cluster at once when the program ends (supervise.go).
package agent
