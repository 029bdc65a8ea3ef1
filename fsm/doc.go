// Package fsm is Limpet's replicated state machine: what is true.
//
// It is pure. The same entries give the same state, bit for bit, on every
// node, whatever its clock, its processor or its build. Nothing in here reads a
// clock, draws a random number, starts a goroutine, does I/O or depends on map
// order; a linter and a test hold that.
//
// # Contract of the caller
//
//  1. A [Machine] belongs to one goroutine at a time. [Machine.Apply] and
//     [Machine.View] must not run at the same moment; the [View] they give may
//     be read by any number of goroutines for as long as they like.
//  2. Entries are applied in log order, each exactly once.
//  3. [Stamp]s never run backwards; an entry with an older stamp is applied at
//     the time the machine already has.
//  4. Whoever takes a call mints the ids and the request id; the machine mints
//     none. A command that is applied twice changes the state once.
//  5. Every "no" is a [Refusal] in the [Result]; it has changed nothing.
//  6. [Effect]s name what changed. Readers read the View: an effect may be
//     merged with another, repeated, or dropped for a reset.
//
// Deadlines fire inside Apply, at the entry's stamp, [MaxDeadlines] per entry
// at most; so a deadline never races the command that cancels it.
package fsm
