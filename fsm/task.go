package fsm

// TaskRun is one task of one run, through all its attempts.
type TaskRun struct {
	ID      TaskRunID
	Run     RunID
	Tenant  TenantID
	Version VersionID
	Index   int // in Version.Tasks
	Status  Status
	// Attempt is the number of the current or next attempt, from 0: the wire's
	// retry_count. It grows with every assignment and is the fence of reports.
	Attempt int32
	// Failures counts attempts that failed by themselves: these consume the
	// task's retries. Requeues counts attempts taken back for other reasons.
	Failures int32
	Requeues int32
	// Waiting counts parents that are not final.
	Waiting int32

	// Worker and Epoch are the holder while Status.Held, and the latest holder
	// after that.
	Worker WorkerID
	Epoch  int64
	Reason string // why that worker; the scheduler's code

	// QueueSeq orders the queue: the run's place among runs.
	QueueSeq Seq
	// Overflow: the patience for the pinned worker is over.
	Overflow bool
	// Deadline is the moment of the one timer the task run has at a time:
	// schedule timeout or patience while queued, delivery while assigned,
	// execution timeout while running, next attempt in backoff. 0 for none.
	Deadline Instant
	// ScheduleBy is the end of the wait for a worker.
	ScheduleBy Instant
	// ExecuteBy is the end of the attempt.
	ExecuteBy Instant

	Output []byte // JSON, when completed
	Error  string // when failed or cancelled

	QueuedAt     Instant
	QueuedWall   int64
	AssignedWall int64
	StartedWall  int64
	FinishedWall int64

	// Conds is what is known of the task's conditions, in their order; empty
	// until the parents have ended.
	Conds []Cond
	// Released: the holder goes on without slots (ReleaseSlot). LentTo names the
	// task run of a child that has taken its slots over, and Lender, the other
	// way round, the one that these slots came from.
	Released bool
	LentTo   TaskRunID
	Lender   TaskRunID
}

// begin notes that its worker has begun it, unless that was said before: of a short task
// its end is the first that is said.
func (t *TaskRun) begin(wall int64) {
	if t.StartedWall == 0 {
		t.StartedWall = wall
	}
}

// counted reports whether the task run's slots are counted at its worker.
func (t *TaskRun) counted() bool { return t.Status.Held() && !t.Released && t.LentTo == "" }

func (t *TaskRun) fields(c *codec) {
	str(c, 1, &t.ID)
	str(c, 2, &t.Run)
	name(c, 3, &t.Tenant)
	name(c, 4, &t.Version)
	num(c, 5, &t.Index)
	num(c, 6, &t.Status)
	num(c, 7, &t.Attempt)
	num(c, 8, &t.Failures)
	num(c, 9, &t.Requeues)
	num(c, 10, &t.Waiting)
	name(c, 11, &t.Worker)
	num(c, 12, &t.Epoch)
	name(c, 13, &t.Reason)
	num(c, 14, &t.QueueSeq)
	flag(c, 15, &t.Overflow)
	num(c, 16, &t.Deadline)
	num(c, 17, &t.ScheduleBy)
	num(c, 18, &t.ExecuteBy)
	raw(c, 19, &t.Output)
	str(c, 20, &t.Error)
	num(c, 21, &t.QueuedAt)
	num(c, 22, &t.QueuedWall)
	num(c, 23, &t.AssignedWall)
	num(c, 24, &t.StartedWall)
	num(c, 25, &t.FinishedWall)
	subs(c, 26, &t.Conds)
	flag(c, 27, &t.Released)
	str(c, 28, &t.LentTo)
	str(c, 29, &t.Lender)
}
