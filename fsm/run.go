package fsm

// Status is the state of a run or of a task run.
//
//	Blocked ─> Queued ─> Assigned ─> Running ─> Completed | Failed
//	   │          ^ │        │          │
//	   │          │ └────────┴──────────┴─> Failed (timeouts), Cancelled
//	   │        Backoff <── failed, retries left
//	   └─> Skipped, Cancelled (parents)
type Status uint8

// The states. A run uses Queued (nothing started yet), Running and the final
// ones.
const (
	// Blocked: waits for its parents.
	Blocked Status = iota
	// Queued: waits for a worker.
	Queued
	// Backoff: failed and waits for its next attempt.
	Backoff
	// Assigned: given to a worker that has not said STARTED.
	Assigned
	// Running: the worker said STARTED.
	Running
	// Completed, Failed, Cancelled and Skipped are final.
	Completed
	Failed
	Cancelled
	Skipped
)

// String gives the state in capitals.
func (s Status) String() string {
	names := [...]string{"BLOCKED", "QUEUED", "BACKOFF", "ASSIGNED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "SKIPPED"}
	if int(s) < len(names) {
		return names[s]
	}
	return "UNKNOWN"
}

// Final reports whether the state never changes again.
func (s Status) Final() bool { return s >= Completed }

// Held reports whether a worker holds the task run now.
func (s Status) Held() bool { return s == Assigned || s == Running }

// Run is one execution of a workflow.
type Run struct {
	ID       RunID
	Tenant   TenantID
	Workflow WorkflowID
	Version  VersionID
	Seq      Seq // when it was created: runs list in this order
	Status   Status
	Priority int32
	Input    []byte // JSON
	Metadata []byte // JSON object, or empty

	ParentRun     RunID
	ParentTaskRun TaskRunID
	ChildKey      string // dedupe key within the parent, or empty
	ChildIndex    int32
	Labels        []LabelWish // given at the trigger; replace the tasks' own
	// Prefer is a worker to try for the first assignment; never waited for.
	Prefer WorkerID

	// EventID and EventKey name the event that started the run, if one did.
	EventID  string
	EventKey string

	// OnLost is the trigger's word on a lost pin; 0 for the workflow's.
	OnLost OnLost
	// Unpinned counts how often the run's pin was cleared, and UnpinnedFrom is
	// the worker that it named last.
	Unpinned     int32
	UnpinnedFrom WorkerID

	Tasks []TaskRunID // by index of the version's task
	Open  int32       // task runs that are not final

	CreatedAt    Instant
	CreatedWall  int64
	StartedWall  int64
	FinishedAt   Instant
	FinishedWall int64
}

func (r *Run) fields(c *codec) {
	str(c, 1, &r.ID)
	name(c, 2, &r.Tenant)
	name(c, 3, &r.Workflow)
	name(c, 4, &r.Version)
	num(c, 5, &r.Seq)
	num(c, 6, &r.Status)
	num(c, 7, &r.Priority)
	raw(c, 8, &r.Input)
	raw(c, 9, &r.Metadata)
	str(c, 10, &r.ParentRun)
	str(c, 11, &r.ParentTaskRun)
	str(c, 12, &r.ChildKey)
	num(c, 13, &r.ChildIndex)
	subs(c, 14, &r.Labels)
	name(c, 15, &r.Prefer)
	strs(c, 16, &r.Tasks)
	num(c, 17, &r.Open)
	num(c, 18, &r.CreatedAt)
	num(c, 19, &r.CreatedWall)
	num(c, 20, &r.StartedWall)
	num(c, 21, &r.FinishedAt)
	num(c, 22, &r.FinishedWall)
	str(c, 23, &r.EventID)
	name(c, 24, &r.EventKey)
	num(c, 25, &r.OnLost)
	num(c, 26, &r.Unpinned)
	name(c, 27, &r.UnpinnedFrom)
}
