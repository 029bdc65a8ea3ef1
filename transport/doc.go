// Package transport is everything that listens: the SDKs' gRPC services, the
// operators' service, HTTP, tokens, and the sessions of workers.
//
// It knows the cluster only as a [Backend], and learns of changes by wake-ups
// that carry ids; what it sends it reads from the state.
package transport
