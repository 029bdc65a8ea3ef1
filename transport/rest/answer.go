package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
)

// problem is an error that knows its HTTP status.
type problem struct {
	status int
	text   string
}

// Error gives the sentence for the caller.
func (p *problem) Error() string { return p.text }

// unavailable asks the caller to try again, here or at another node.
func unavailable(format string, args ...any) error {
	return &problem{http.StatusServiceUnavailable, fmt.Sprintf(format, args...)}
}

// statusOf is the table from errors to HTTP statuses. What is not ours comes
// from a cluster that could not confirm in time.
func statusOf(err error) int {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.status
	}
	if denied, ok := errors.AsType[*auth.Error](err); ok {
		switch denied.Kind {
		case auth.Unauthenticated:
			return http.StatusUnauthorized
		case auth.Forbidden:
			return http.StatusForbidden
		case auth.NotReady:
			return http.StatusServiceUnavailable
		}
	}
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok {
		switch refusal.Code {
		case fsm.CodeInvalid:
			return http.StatusBadRequest
		case fsm.CodeNotFound:
			return http.StatusNotFound
		case fsm.CodeConflict, fsm.CodeStale, fsm.CodeBusy, fsm.CodeFenced:
			return http.StatusConflict
		case fsm.CodeUnsupported:
			return http.StatusNotImplemented
		case fsm.CodeExhausted:
			return http.StatusTooManyRequests
		case fsm.CodeNone:
		}
		return http.StatusInternalServerError
	}
	return http.StatusServiceUnavailable
}

// errorAnswer is the form in which SDKs read errors.
type errorAnswer struct {
	Errors []errorItem `json:"errors"`
}

type errorItem struct {
	Description string `json:"description"`
}

// fail counts, logs and writes an error.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok {
		s.Counters.CountRefusal(refusal.Code)
	}
	status := statusOf(err)
	s.Logger.Debug("request", "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", retryAfter(err))
	}
	s.writeJSON(w, status, errorAnswer{[]errorItem{{err.Error()}}})
}

// retryAfter gives the seconds after which an error says to try again, rounded up
// as the header takes whole ones: whoever obeys must not come too early.
func retryAfter(err error) string {
	seconds := (transport.RetryAfter(err) + time.Second - 1) / time.Second
	return strconv.FormatInt(max(1, int64(seconds)), 10)
}

func (s *server) writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.Logger.Error("an answer cannot be encoded", "type", fmt.Sprintf("%T", v), "error", err)
		http.Error(w, `{"errors":[{"description":"internal error at this node; its log has the details"}]}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Whoever went away does not miss the answer.
	_, _ = w.Write(append(body, '\n'))
}

func (s *server) writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// decode reads a JSON object from the body. Members that it does not know are
// let pass: newer SDKs may send more.
func (s *server) decode(r *http.Request, into any) error { return s.decodeUpTo(r, maxBody, into) }

// decodeUpTo is decode with a limit in bytes.
func (s *server) decodeUpTo(r *http.Request, limit int64, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			s.Counters.Oversized.Add(1)
			return &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than the limit of %d bytes: send less", limit)}
		}
		return &problem{http.StatusBadRequest, fmt.Sprintf("the body could not be read: %v", err)}
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return invalid("body", "", "must be a JSON object, and is empty", "")
	}
	err = json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field
		if field == "" {
			field = "body"
		}
		return invalid(field, wrong.Value, "must be of JSON type "+jsonType(wrong.Type.Kind().String()), "")
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("body", string(body), fmt.Sprintf("must be valid JSON: %v at byte %d", wrong, wrong.Offset), "")
	}
	return invalid("body", string(body), "must be valid JSON: "+err.Error(), "")
}

// jsonType gives the JSON word for a kind of Go.
func jsonType(kind string) string {
	switch kind {
	case "bool":
		return "boolean"
	case "slice":
		return "array"
	case "struct", "map":
		return "object"
	default:
		return kind
	}
}

// invalid refuses an argument: its field, its value, what is allowed, and what
// to do.
func invalid(field, got, want, hint string) error {
	return refusal(fsm.CodeInvalid, field, got, want, hint)
}

func refusal(code fsm.Code, field, got, want, hint string) error {
	const limit = 200
	if len(got) > limit {
		got = strings.ToValidUTF8(got[:limit], "") + "..."
	}
	return &fsm.Refusal{Code: code, Field: field, Got: got, Want: want, Hint: hint}
}

// checkID gives an id in lower case.
func checkID(field, id string) (string, error) {
	low := strings.ToLower(id)
	if !fsm.ValidUUID(low) {
		return "", invalid(field, id, "must be a valid UUID", "")
	}
	return low, nil
}
