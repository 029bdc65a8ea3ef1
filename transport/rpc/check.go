package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/limpet-dev/limpet/fsm"
)

// invalid refuses an argument: its field, its value, what is allowed, and what
// to do.
func invalid(field, got, want, hint string) error {
	const limit = 200
	if len(got) > limit {
		got = strings.ToValidUTF8(got[:limit], "") + "..."
	}
	return &fsm.Refusal{Code: fsm.CodeInvalid, Field: field, Got: got, Want: want, Hint: hint}
}

// checkID gives an id in lower case.
func checkID(field, id string) (string, error) {
	low := strings.ToLower(id)
	if !fsm.ValidUUID(low) {
		return "", invalid(field, id, "must be a valid UUID", "")
	}
	return low, nil
}

// checkOptionalID is checkID, but an empty id is let through.
func checkOptionalID(field, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	return checkID(field, id)
}

// checkName refuses an empty name.
func checkName(field, name string) error {
	if strings.TrimSpace(name) == "" {
		return invalid(field, name, "must not be empty", "")
	}
	return nil
}

// checkJSON gives the JSON text of a field; {} for an empty one.
func checkJSON(field string, text []byte) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return []byte("{}"), nil
	}
	if !utf8.Valid(text) {
		return nil, invalid(field, strings.ToValidUTF8(string(text), "?"), "must be JSON in UTF-8", "")
	}
	if !json.Valid(text) {
		return nil, invalid(field, string(text), "must be valid JSON: "+jsonFault(text), "")
	}
	return text, nil
}

// checkObject gives the text of a JSON object; nil for none, null or an empty
// one.
func checkObject(field string, text []byte) ([]byte, error) {
	text, err := checkJSON(field, text)
	if err != nil {
		return nil, err
	}
	trimmed := bytes.TrimSpace(text)
	if string(trimmed) == "null" {
		return nil, nil
	}
	if trimmed[0] != '{' {
		return nil, invalid(field, string(text), "must be a JSON object", `for example {"key":"value"}`)
	}
	if len(bytes.TrimSpace(trimmed[1:len(trimmed)-1])) == 0 {
		return nil, nil
	}
	return text, nil
}

// jsonFault says what is wrong with a text and where.
func jsonFault(text []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(text, &v)
	if s, ok := err.(*json.SyntaxError); ok { //nolint:errorlint // Unmarshal of a raw message does not wrap it
		return fmt.Sprintf("%v at byte %d", err, s.Offset)
	}
	return fmt.Sprint(err)
}

// checkPriority gives a priority, 0 for the workflow's default.
func checkPriority(field string, p *int32) (int32, error) {
	if p == nil {
		return 0, nil
	}
	if *p < 1 || *p > 3 {
		return 0, invalid(field, itoa(*p), "priority must be between 1 and 3, got "+itoa(*p), "1 is low, 3 is high")
	}
	return *p, nil
}

// checkDuration parses a duration text such as 60s, 5m, 1h30m or 2d; 0 for an
// empty one.
func checkDuration(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = parseDays(text)
	}
	if err != nil {
		return 0, invalid(field, text, "must be a duration with a unit", "for example 60s, 5m, 1h30m or 2d")
	}
	if d < 0 {
		return 0, invalid(field, text, "must not be negative", "")
	}
	return d, nil
}

// parseDays knows d and w, which Go does not, before what Go knows.
func parseDays(text string) (time.Duration, error) {
	const day = 24 * time.Hour
	at := strings.IndexAny(text, "dw")
	if at <= 0 {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseFloat(text[:at], 64)
	if err != nil {
		return 0, fmt.Errorf("days of %q: %w", text, err)
	}
	unit := day
	if text[at] == 'w' {
		unit = 7 * day
	}
	if n < 0 || n > float64(math.MaxInt64/int64(unit)) {
		return 0, strconv.ErrRange
	}
	d := time.Duration(n * float64(unit))
	if text[at+1:] == "" {
		return d, nil
	}
	rest, err := time.ParseDuration(text[at+1:])
	if err != nil {
		return 0, fmt.Errorf("rest of %q: %w", text, err)
	}
	return d + rest, nil
}

// checkEnum gives the number of an enum value that this build knows.
func checkEnum[T ~int32](field string, v T, names map[int32]string) (int32, error) {
	if _, ok := names[int32(v)]; !ok {
		return 0, invalid(field, itoa(int32(v)), "is not a value that this version knows", "")
	}
	return int32(v), nil
}
