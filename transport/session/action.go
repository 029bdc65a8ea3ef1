package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	"github.com/limpet-dev/limpet/fsm"
)

// SkippedOutput is what a skipped task gives to those who read its output.
const SkippedOutput = `{"skipped":true}`

// startAction is the order to start the current attempt; nil when its run or
// version is not in the view.
func startAction(view fsm.View, t *fsm.TaskRun) *compat.AssignedAction {
	run, task, ok := lookUp(view, t)
	if !ok {
		return nil
	}
	a := action(run, task, t)
	a.ActionType = compat.ActionType_START_STEP_RUN
	a.RetryCount = t.Attempt
	a.ActionPayload = payload(view, run, task, t)
	return a
}

// cancelAction is the order to stop working on an attempt.
func cancelAction(view fsm.View, t *fsm.TaskRun, attempt int32) *compat.AssignedAction {
	run, task, ok := lookUp(view, t)
	if !ok {
		return nil
	}
	a := action(run, task, t)
	a.ActionType = compat.ActionType_CANCEL_STEP_RUN
	a.RetryCount = attempt
	return a
}

func lookUp(view fsm.View, t *fsm.TaskRun) (*fsm.Run, *fsm.Task, bool) {
	run, ok := view.Run(t.Run)
	if !ok {
		return nil, nil, false
	}
	version, ok := view.Version(t.Version)
	if !ok || t.Index >= len(version.Tasks) {
		return nil, nil, false
	}
	return run, &version.Tasks[t.Index], true
}

// action fills in what all orders share. SDKs echo the first-generation ids
// and look at none of them.
func action(run *fsm.Run, task *fsm.Task, t *fsm.TaskRun) *compat.AssignedAction {
	id := string(t.ID)
	a := &compat.AssignedAction{
		TenantId:          string(t.Tenant),
		WorkflowRunId:     string(t.Run),
		JobId:             id,
		JobName:           task.Name,
		JobRunId:          id,
		TaskId:            id,
		TaskRunExternalId: id,
		ActionId:          task.Action,
		TaskName:          task.Name,
		Priority:          run.Priority,
		WorkflowId:        new(string(run.Workflow)),
		WorkflowVersionId: new(string(run.Version)),
		TaskInsertedAt:    timestamppb.New(time.Unix(0, run.CreatedWall)),
	}
	// One SDK drops the whole order on anything but an object with content.
	if len(run.Metadata) > 0 && string(run.Metadata) != "{}" {
		a.AdditionalMetadata = new(string(run.Metadata))
	}
	if run.ParentRun != "" {
		a.ParentWorkflowRunId = new(string(run.ParentRun))
	}
	if run.EventID != "" {
		a.TriggeringEventExternalId = new(run.EventID)
		a.TriggeringEventKey = new(run.EventKey)
	}
	if run.ParentTaskRun != "" {
		a.ChildWorkflowIndex = new(run.ChildIndex)
		a.ChildWorkflowKey = childKey(run)
	}
	return a
}

// childKey gives the key that the parent named its child by; nil when it was
// named by its index or not at all.
func childKey(run *fsm.Run) *string {
	key := strings.TrimPrefix(run.ChildKey, string(run.ParentTaskRun)+"/"+string(run.Workflow)+"/")
	if key == "#"+strconv.Itoa(int(run.ChildIndex)) || key == string(run.ID) || key == "" {
		return nil
	}
	return &key
}

// payload builds the JSON that a task gets. The input and the outputs are put
// in as they were received, byte for byte: to decode and encode them again
// would change large numbers.
func payload(view fsm.View, run *fsm.Run, task *fsm.Task, t *fsm.TaskRun) string {
	version, _ := view.Version(t.Version)
	var b bytes.Buffer
	b.WriteString(`{"input":`)
	b.Write(orElse(run.Input, "{}"))
	b.WriteString(`,"triggered_by":"manual","parents":`)
	writeObject(&b, task.Parents, func(i int) (string, []byte) {
		p, ok := view.TaskRun(run.Tasks[i])
		switch {
		case ok && p.Status == fsm.Completed:
			return version.Tasks[i].Name, orElse(p.Output, "{}")
		case ok && p.Status == fsm.Skipped:
			return version.Tasks[i].Name, orElse(p.Output, SkippedOutput)
		default:
			return "", nil
		}
	})
	b.WriteString(`,"triggers":`)
	writeTriggers(&b, task, t)
	b.WriteString(`,"user_data":`)
	b.Write(userData(task.UserData))
	b.WriteString(`,"overrides":null`)
	if t.Index == version.OnFailure {
		b.WriteString(`,"step_run_errors":`)
		writeErrors(&b, view, run, version)
	}
	b.WriteByte('}')
	return b.String()
}

// writeTriggers gives the task what met its conditions, by their keys.
func writeTriggers(b *bytes.Buffer, task *fsm.Task, t *fsm.TaskRun) {
	members := make([]int, 1, len(t.Conds)+1)
	members[0] = -1
	for i := range t.Conds {
		members = append(members, i)
	}
	seen := map[string]bool{}
	writeObject(b, members, func(i int) (string, []byte) {
		if i < 0 {
			return "filter_payload", []byte("null")
		}
		c := &task.Conditions[i]
		if c.Kind != fsm.CondEvent || t.Conds[i].State != fsm.CondMet || seen[c.Key] {
			return "", nil
		}
		seen[c.Key] = true
		return c.Key, orElse(t.Conds[i].Data, "{}")
	})
}

// writeErrors gives the on-failure task the errors of the others.
func writeErrors(b *bytes.Buffer, view fsm.View, run *fsm.Run, version *fsm.Version) {
	all := make([]int, len(run.Tasks))
	for i := range all {
		all[i] = i
	}
	writeObject(b, all, func(i int) (string, []byte) {
		t, ok := view.TaskRun(run.Tasks[i])
		if !ok || t.Status != fsm.Failed {
			return "", nil
		}
		return version.Tasks[i].Name, quote(t.Error)
	})
}

// writeObject writes a JSON object with a member for every index that has one.
func writeObject(b *bytes.Buffer, indices []int, member func(int) (name string, value []byte)) {
	b.WriteByte('{')
	first := true
	for _, i := range indices {
		name, value := member(i)
		if value == nil {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.Write(quote(name))
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
}

func userData(text string) []byte {
	switch {
	case text == "":
		return []byte("null")
	case json.Valid([]byte(text)):
		return []byte(text)
	default:
		return quote(text)
	}
}

// quote writes a JSON string. Marshalling a string does not fail.
func quote(s string) []byte {
	b, _ := json.Marshal(s)
	return b
}

func orElse(raw []byte, empty string) []byte {
	if len(raw) == 0 {
		return []byte(empty)
	}
	return raw
}

func oversized(size, limit int) string {
	return fmt.Sprintf("the task cannot be delivered: input and parents' outputs come to %d bytes in one message, the limit is %d bytes; "+
		"keep large data elsewhere and pass a reference to it", size, limit)
}
