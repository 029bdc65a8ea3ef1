package rest

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

type workflowList struct {
	Rows       []workflowAnswer `json:"rows"`
	Pagination pagination       `json:"pagination"`
}

type workflowAnswer struct {
	Metadata    resourceMeta `json:"metadata"`
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Paused      bool         `json:"isPaused"`
	Tenant      string       `json:"tenantId"`
	// OnLost is what becomes of HARD runs whose worker is lost.
	OnLost   string        `json:"onLost"`
	Versions []versionMeta `json:"versions"` // the latest
}

// versionMeta is what a workflow tells of its version.
type versionMeta struct {
	Metadata resourceMeta `json:"metadata"`
	Version  string       `json:"version"`
	Order    int64        `json:"order"`
	Workflow string       `json:"workflowId"`
}

type versionAnswer struct {
	versionMeta
	Sticky   string          `json:"sticky"`
	Priority int32           `json:"defaultPriority"`
	Of       workflowAnswer  `json:"workflow"`
	Jobs     []jobAnswer     `json:"jobs"`
	Schema   json.RawMessage `json:"inputJsonSchema"`
}

// jobAnswer is a version's tasks, in the form that SDKs know: each version has
// one.
type jobAnswer struct {
	Metadata resourceMeta `json:"metadata"`
	Tenant   string       `json:"tenantId"`
	Version  string       `json:"versionId"`
	Name     string       `json:"name"`
	Tasks    []taskAnswer `json:"steps"`
}

// taskAnswer is a task of a version.
type taskAnswer struct {
	Metadata resourceMeta     `json:"metadata"`
	Name     string           `json:"readableId"`
	Tenant   string           `json:"tenantId"`
	Job      string           `json:"jobId"`
	Action   string           `json:"action"`
	Timeout  string           `json:"timeout,omitempty"`
	Slots    map[string]int32 `json:"slotRequests"`
	Children []string         `json:"children"`
	Parents  []string         `json:"parents"`
}

// workflows lists the tenant's workflows; with a name only the one of that
// name, without regard to case.
func (s *server) workflows(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	name := q.text("name")
	limit, offset := q.page(pageRows)
	if q.err != nil {
		return nil, q.err
	}
	var all []*fsm.Workflow
	if name == "" {
		for w := range s.Backend.View().Workflows(tenant) {
			all = append(all, w)
		}
	} else {
		w, ok, err := find(r.Context(), s, func(v fsm.View) (*fsm.Workflow, bool) { return v.Workflow(tenant, name) })
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, w)
		}
	}
	out := workflowList{Rows: []workflowAnswer{}, Pagination: pages(limit, offset, len(all))}
	view := s.Backend.View()
	for _, w := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		out.Rows = append(out.Rows, describeWorkflow(view, w))
	}
	return out, nil
}

func (s *server) workflow(r *http.Request, tenant fsm.TenantID) (any, error) {
	w, err := s.findWorkflow(r, tenant)
	if err != nil {
		return nil, err
	}
	return describeWorkflow(s.Backend.View(), w), nil
}

type workflowPatch struct {
	OnLost *string `json:"onLost"`
}

// patchWorkflow decides what becomes of the workflow's HARD runs when their
// worker is lost.
func (s *server) patchWorkflow(r *http.Request, tenant fsm.TenantID) (any, error) {
	actor, err := operator(r)
	if err != nil {
		return nil, err
	}
	var patch workflowPatch
	if err := s.decode(r, &patch); err != nil {
		return nil, err
	}
	if patch.OnLost == nil {
		return nil, invalid("onLost", "", "must be given", `send {"onLost":"wait"}, "fail" or "repin"`)
	}
	policy, err := transport.ParseOnLost("onLost", *patch.OnLost)
	if err != nil {
		return nil, err
	}
	w, err := s.findWorkflow(r, tenant)
	if err != nil {
		return nil, err
	}
	_, err = s.propose(r.Context(), "set what workflow "+w.Name+" does when a worker is lost", &limpetv1.Command{Kind: &limpetv1.Command_SetWorkflow{
		SetWorkflow: &limpetv1.SetWorkflow{TenantId: string(tenant), Workflow: w.Name, OnLost: policy, Actor: actor},
	}})
	if err != nil {
		return nil, err
	}
	return s.workflow(r, tenant)
}

// version describes one version of a workflow: the one that is asked for, or
// the latest.
func (s *server) version(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	id := fsm.VersionID(q.id("version"))
	if q.err != nil {
		return nil, q.err
	}
	w, err := s.findWorkflow(r, tenant)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = w.Latest
	}
	v, ok, err := find(r.Context(), s, func(view fsm.View) (*fsm.Version, bool) {
		v, ok := view.Version(id)
		return v, ok && v.Workflow == w.ID
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refusal(fsm.CodeNotFound, "version", string(id), "the workflow "+w.Name+" has no such version", "leave it out for the latest")
	}
	return describeVersion(s.Backend.View(), w, v), nil
}

// findWorkflow finds the workflow that the path names.
func (s *server) findWorkflow(r *http.Request, tenant fsm.TenantID) (*fsm.Workflow, error) {
	id, err := checkID("workflow", r.PathValue("workflow"))
	if err != nil {
		return nil, err
	}
	w, ok, err := find(r.Context(), s, func(v fsm.View) (*fsm.Workflow, bool) {
		w, ok := v.WorkflowByID(fsm.WorkflowID(id))
		return w, ok && w.Tenant == tenant
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refusal(fsm.CodeNotFound, "workflow", id, "no such workflow is registered in this tenant", "see `limpet workflow list`")
	}
	return w, nil
}

func describeWorkflow(view fsm.View, w *fsm.Workflow) workflowAnswer {
	out := workflowAnswer{
		Metadata: meta(string(w.ID), w.CreatedWall, w.CreatedWall), Name: w.Name, Tenant: string(w.Tenant), OnLost: w.Policy().String(),
		Versions: []versionMeta{},
	}
	if v, ok := view.Version(w.Latest); ok {
		def := definitionOf(v)
		out.Metadata = meta(string(w.ID), w.CreatedWall, v.CreatedWall)
		out.Description = def.GetDescription()
		out.Versions = append(out.Versions, describeVersionMeta(v, def))
	}
	return out
}

func describeVersionMeta(v *fsm.Version, def *limpetv1.WorkflowDefinition) versionMeta {
	return versionMeta{
		Metadata: meta(string(v.ID), v.CreatedWall, v.CreatedWall), Version: def.GetVersion(), Order: v.Order, Workflow: string(v.Workflow),
	}
}

func describeVersion(view fsm.View, w *fsm.Workflow, v *fsm.Version) versionAnswer {
	def := definitionOf(v)
	return versionAnswer{
		versionMeta: describeVersionMeta(v, def), Sticky: v.Sticky.String(), Priority: max(1, v.DefaultPriority),
		Of: describeWorkflow(view, w), Jobs: []jobAnswer{describeJob(v)}, Schema: object(def.GetInputJsonSchema()),
	}
}

// definitionOf reads what a version does not keep beside its bytes.
func definitionOf(v *fsm.Version) *limpetv1.WorkflowDefinition {
	var def limpetv1.WorkflowDefinition
	if proto.Unmarshal(v.Definition, &def) != nil {
		return &limpetv1.WorkflowDefinition{} // cannot be: the version was made of it
	}
	return &def
}

func describeJob(v *fsm.Version) jobAnswer {
	job := jobAnswer{
		Metadata: meta(string(v.ID), v.CreatedWall, v.CreatedWall), Tenant: string(v.Tenant), Version: string(v.ID),
		Name: v.Name, Tasks: []taskAnswer{},
	}
	ids := func(indices []int) []string {
		out := []string{}
		for _, i := range indices {
			out = append(out, definitionID(v.ID, v.Tasks[i].Name))
		}
		return out
	}
	for i := range v.Tasks {
		t := &v.Tasks[i]
		item := taskAnswer{
			Metadata: meta(definitionID(v.ID, t.Name), v.CreatedWall, v.CreatedWall), Name: t.Name, Tenant: string(v.Tenant),
			Job: job.Metadata.ID, Action: t.Action, Slots: map[string]int32{}, Children: ids(t.Children), Parents: ids(t.Parents),
		}
		if t.ExecutionTimeout != 0 {
			item.Timeout = t.ExecutionTimeout.String()
		}
		for _, s := range t.Slots {
			item.Slots[s.Type] = s.Units
		}
		job.Tasks = append(job.Tasks, item)
	}
	return job
}
