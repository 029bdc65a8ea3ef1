package transport

import (
	"bytes"
	"encoding/json"
	"errors"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// OnLost reads from the metadata of a run, a JSON object or nothing, what becomes
// of the run when the worker that it is pinned HARD to is lost. The refusal names
// the field.
func OnLost(field string, metadata []byte) (limpetv1.OnLost, error) {
	if !bytes.Contains(metadata, []byte(limpetv1.MetadataOnLost)) {
		return limpetv1.OnLost_ON_LOST_UNSET, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(metadata, &m); err != nil {
		return limpetv1.OnLost_ON_LOST_UNSET, nil //nolint:nilerr // whether it is an object is checked elsewhere
	}
	raw, ok := m[limpetv1.MetadataOnLost]
	if !ok {
		return limpetv1.OnLost_ON_LOST_UNSET, nil
	}
	var text string
	_ = json.Unmarshal(raw, &text) // what is no text is refused below
	policy, err := ParseOnLost(field+"."+limpetv1.MetadataOnLost, text)
	if no, ok := errors.AsType[*fsm.Refusal](err); ok {
		no.Got, no.Hint = string(raw), "leave it out for the workflow's own setting"
	}
	return policy, err
}

// ParseOnLost reads a policy; the refusal names the field.
func ParseOnLost(field, text string) (limpetv1.OnLost, error) {
	o, ok := fsm.ParseOnLost(text)
	if !ok {
		return limpetv1.OnLost_ON_LOST_UNSET, &fsm.Refusal{Code: fsm.CodeInvalid, Field: field, Got: text, Want: "must be wait, fail or repin"}
	}
	return limpetv1.OnLost(o), nil
}
