// Package limpetv1 holds Limpet's own messages and services: the log's commands,
// what nodes tell each other, and the operators' and members' APIs.
package limpetv1

// Headers of gRPC calls by which agents and the Go SDK say more than the SDKs'
// protocol has room for. A call without them means what it always meant.
const (
	// HeaderIncarnation names one start of a worker's process, at Register,
	// ListenV2, Listen and Heartbeat. It fences a process whose place was taken
	// by a newer start.
	HeaderIncarnation = "limpet-incarnation"
	// HeaderMember is the process's name in gossip, at Register.
	HeaderMember = "limpet-member"
	// HeaderRequestID is a UUID that makes a repeated call apply once: the same
	// call is repeated with the same id after an unknown outcome.
	HeaderRequestID = "limpet-request-id"
	// HeaderUserAgent is the user agent of the program behind an agent: some SDKs
	// are answered in another form than others.
	HeaderUserAgent = "limpet-user-agent"
)

// Labels of a worker that the cluster gives a meaning to.
const (
	// LabelIdentity names a place: who registers with it again gets its old
	// worker id back.
	LabelIdentity = "limpet.identity"
	// LabelGeneration names the state at that place: with another one, it is
	// another place.
	LabelGeneration = "limpet.generation"
)

// MetadataOnLost is the key of a run's metadata that says what becomes of the
// run when the worker that it is pinned HARD to is lost: wait, fail or repin.
const MetadataOnLost = "limpet.on_lost"
