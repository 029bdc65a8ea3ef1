// Package ceiling is what no coordinator on a machine can outrun: a server that
// takes the calls and streams of the SDKs and does nothing but answer them, and
// the bare replicated log with a state machine that is empty.
package ceiling
