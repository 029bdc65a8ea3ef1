package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

type triggerRequest struct {
	Workflow string          `json:"workflowName"`
	Input    json.RawMessage `json:"input"`
	Extra    json.RawMessage `json:"additionalMetadata"`
	Priority *int32          `json:"priority"`
}

// trigger starts a run that has no parent, and tells of it.
func (s *server) trigger(r *http.Request, tenant fsm.TenantID) (any, error) {
	var in triggerRequest
	err := s.decodeUpTo(r, maxPayload, &in)
	if err != nil {
		return nil, err
	}
	spec := &limpetv1.RunSpec{Workflow: in.Workflow}
	if strings.TrimSpace(in.Workflow) == "" {
		return nil, invalid("workflowName", in.Workflow, "must not be empty", "")
	}
	if spec.Input, err = checkObject("input", in.Input); err != nil {
		return nil, err
	}
	if len(spec.GetInput()) == 0 {
		spec.Input = []byte("{}")
	}
	if spec.Metadata, err = checkObject("additionalMetadata", in.Extra); err != nil {
		return nil, err
	}
	if spec.OnLost, err = transport.OnLost("additionalMetadata", spec.GetMetadata()); err != nil {
		return nil, err
	}
	if in.Priority != nil {
		spec.Priority = *in.Priority
		if spec.GetPriority() < 1 || spec.GetPriority() > 3 {
			return nil, invalid("priority", strconv.Itoa(int(spec.GetPriority())), "must be between 1 and 3", "1 is low, 3 is high")
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, unavailable("make an id: %v", err)
	}
	spec.RunId = id.String()
	res, err := s.propose(r.Context(), "start workflow "+in.Workflow, &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{
		TriggerRuns: &limpetv1.TriggerRuns{TenantId: string(tenant), Runs: []*limpetv1.RunSpec{spec}},
	}})
	if err != nil {
		return nil, err
	}
	view := s.Backend.View()
	run, ok := view.Run(fsm.RunID(spec.GetRunId()))
	if !ok {
		return nil, unavailable("start workflow %q: run %q was started and is not known here yet", in.Workflow, res.IDs)
	}
	return describeRun(view, run), nil
}

// checkObject gives the text of a JSON object; nil for none, null or an empty
// one.
func checkObject(field string, text json.RawMessage) ([]byte, error) {
	switch text = bytes.TrimSpace(text); {
	case len(text) == 0, string(text) == "null":
		return nil, nil
	case text[0] != '{':
		return nil, invalid(field, string(text), "must be a JSON object", `for example {"key":"value"}`)
	case len(bytes.TrimSpace(text[1:len(text)-1])) == 0:
		return nil, nil
	}
	return text, nil
}
