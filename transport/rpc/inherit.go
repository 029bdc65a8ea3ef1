package rpc

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// reservedPrefix begins the metadata keys that the server writes.
const reservedPrefix = "hatchet__"

// inherit hands the parent's metadata on to a child; what the child says for
// itself wins. Two of the SDKs do it themselves, the others count on the server.
func (s *Services) inherit(ctx context.Context, t fsm.TenantID, spec *limpetv1.RunSpec) {
	id := fsm.TaskRunID(spec.GetParentTaskRunId())
	view := s.cfg.Backend.View()
	parent, ok := view.TaskRun(id)
	if !ok && s.current(ctx) == nil { // this node may be a little behind
		view = s.cfg.Backend.View()
		parent, ok = view.TaskRun(id)
	}
	if !ok || parent.Tenant != t {
		return
	}
	run, ok := view.Run(parent.Run)
	if !ok {
		return
	}
	out := map[string]json.RawMessage{}
	var own map[string]json.RawMessage
	_ = json.Unmarshal(run.Metadata, &out) // it was checked when it came
	maps.DeleteFunc(out, func(k string, _ json.RawMessage) bool { return strings.HasPrefix(k, reservedPrefix) })
	_ = json.Unmarshal(spec.GetMetadata(), &own)
	maps.Copy(out, own)
	out[reservedPrefix+"parent_workflow_run_id"] = quoted(string(run.ID))
	out[reservedPrefix+"parent_step_run_id"] = quoted(string(parent.ID))
	if b, err := json.Marshal(out); err == nil {
		spec.Metadata = b
	}
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s)
	return b
}
