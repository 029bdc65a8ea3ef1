package fsm

import (
	"strings"
	"time"
)

// Strategy is a workflow's sticky strategy.
type Strategy uint8

// The strategies; see docs/architecture.md, pins.
const (
	// StrategyNone: tasks go to any eligible worker.
	StrategyNone Strategy = iota
	// StrategySoft: the pinned worker first, another one if it is unavailable.
	StrategySoft
	// StrategyHard: the pinned worker, ever.
	StrategyHard
)

// String gives NONE, SOFT or HARD.
func (s Strategy) String() string {
	switch s {
	case StrategySoft:
		return "SOFT"
	case StrategyHard:
		return "HARD"
	case StrategyNone:
	}
	return "NONE"
}

// Workflow is a name with versions; new runs use the latest.
type Workflow struct {
	ID          WorkflowID
	Tenant      TenantID
	Name        string // as first registered; looked up without regard to case
	Latest      VersionID
	Versions    int64
	CreatedWall int64
	// OnLost is an operator's word on its runs.
	OnLost OnLost
}

func (w *Workflow) fields(c *codec) {
	str(c, 1, &w.ID)
	str(c, 2, &w.Tenant)
	str(c, 3, &w.Name)
	str(c, 4, &w.Latest)
	num(c, 5, &w.Versions)
	num(c, 6, &w.CreatedWall)
	num(c, 7, &w.OnLost)
}

// workflowKey is how a workflow is looked up by name.
func workflowKey(t TenantID, name string) string { return string(t) + "/" + strings.ToLower(name) }

// Version is one definition of a workflow. Definition holds the registration's
// bytes; the other fields below it are parsed from them.
type Version struct {
	ID          VersionID
	Workflow    WorkflowID
	Tenant      TenantID
	Order       int64
	CreatedWall int64
	Definition  []byte // serialized limpet.v1.WorkflowDefinition

	Name            string
	Sticky          Strategy
	DefaultPriority int32
	Tasks           []Task
	// OnFailure is the index in Tasks of the task that runs when the run
	// fails, or -1.
	OnFailure int
	// EventTriggers are the keys of events that start a run. Filtered says that
	// the definition asks for filters on them, which are not served: no event
	// starts a run then.
	EventTriggers []string
	Filtered      bool
	// Unserved names the features that the definition uses and this build does
	// not serve; a trigger is refused while there are any.
	Unserved []string

	conditional bool // a task has conditions
}

func (v *Version) fields(c *codec) {
	str(c, 1, &v.ID)
	str(c, 2, &v.Workflow)
	str(c, 3, &v.Tenant)
	num(c, 4, &v.Order)
	num(c, 5, &v.CreatedWall)
	raw(c, 6, &v.Definition)
}

// Task is one task of a version.
type Task struct {
	Name             string
	Action           string // lower case
	Parents          []int  // indices in Version.Tasks
	Children         []int
	Retries          int32
	BackoffFactor    int64 // thousandths; 0 for no delay
	BackoffMax       time.Duration
	ExecutionTimeout time.Duration // 0: the setting
	ScheduleTimeout  time.Duration // 0: the setting
	Slots            []Slots       // sorted by type; all from one worker
	Labels           []LabelWish   // sorted by key
	UserData         string
	Conditions       []Condition

	class string // names it among the tasks of all versions
}

// Slots is a number of units of one slot type.
type Slots struct {
	Type  string
	Units int32
}

func (s *Slots) fields(c *codec) {
	str(c, 1, &s.Type)
	num(c, 2, &s.Units)
}
