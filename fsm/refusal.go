package fsm

import "fmt"

// Code is the kind of a refusal. The edges map each code to one gRPC and one
// HTTP status.
type Code uint8

// The codes.
const (
	// CodeNone is the zero Code: not refused.
	CodeNone Code = iota
	// CodeInvalid: the caller's argument is wrong; the same call will never do.
	CodeInvalid
	// CodeNotFound: the thing named does not exist.
	CodeNotFound
	// CodeConflict: the thing exists already, or is in another state.
	CodeConflict
	// CodeStale: the proposal was made from an old view, or comes from a fenced
	// attempt. Nobody needs to be told but the metrics.
	CodeStale
	// CodeUnsupported: the request asks for a feature that is not served.
	CodeUnsupported
	// CodeExhausted: a limit is reached; try again later.
	CodeExhausted
	// CodeBusy: another holds what is asked for; it may be free soon.
	CodeBusy
	// CodeFenced: the caller's process was replaced by a newer start of it, and
	// must stop.
	CodeFenced
)

// String returns the code's name.
func (c Code) String() string {
	names := [...]string{"NONE", "INVALID", "NOT_FOUND", "CONFLICT", "STALE", "UNSUPPORTED", "EXHAUSTED", "BUSY", "FENCED"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("CODE_%d", uint8(c))
}

// Refusal is the state machine's "no", as data. It implements error.
//
//nolint:errname // the house's word for it; see docs/architecture.md
type Refusal struct {
	// Code says what kind of no it is.
	Code Code
	// Field names the argument at fault, in the words of the caller's request.
	Field string
	// Got is the value that was refused, shortened if long.
	Got string
	// Want says what is allowed.
	Want string
	// Hint says what to do next; may be empty.
	Hint string
}

// Error gives the refusal as one sentence: field, value, what is allowed, and
// what to do.
func (r *Refusal) Error() string {
	s := fmt.Sprintf("%s %q: %s", r.Field, r.Got, r.Want)
	if r.Hint != "" {
		s += "; " + r.Hint
	}
	return s
}

func refuse(code Code, field, got, want, hint string) *Refusal {
	const limit = 200
	if len(got) > limit {
		got = got[:limit] + "..."
	}
	return &Refusal{Code: code, Field: field, Got: got, Want: want, Hint: hint}
}
