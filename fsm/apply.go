package fsm

import (
	"fmt"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/internal/bugs"
)

// applyOne counts the command, answers a repeated request from memory, and
// otherwise hands it to the rules. No rule is in here.
func (m *Machine) applyOne(c Command) Result {
	s := m.st
	s.seq++
	m.from = len(m.effects)
	id := string(c.GetRequestId())
	keep := kept(c)
	if keep && !bugs.On(bugs.NoDedup) { // no other can be there, and the table is large
		if old, ok := s.requests.Get(id); ok {
			r := old.result()
			r.RequestID, r.Seq, r.Ignored = id, s.seq, true
			return r
		}
	}
	r, no := m.dispatch(c)
	m.heedLosses()
	r.RequestID, r.Seq, r.Refusal = id, s.seq, no
	if keep && (no == nil || no.Code != CodeBusy && no.Code != CodeExhausted) {
		m.remember(id, r)
	}
	return r
}

// dispatch is the one switch over the kinds of command.
func (m *Machine) dispatch(c Command) (Result, *Refusal) {
	switch k := c.GetKind().(type) {
	case *limpetv1.Command_Bootstrap:
		return m.bootstrap(k.Bootstrap)
	case *limpetv1.Command_PutSettings:
		return m.putSettings(k.PutSettings)
	case *limpetv1.Command_RecordAct:
		return m.recordAct(k.RecordAct)
	case *limpetv1.Command_PutWorkflow:
		return m.putWorkflow(k.PutWorkflow)
	case *limpetv1.Command_SetWorkflow:
		return m.setWorkflowPolicy(k.SetWorkflow)
	case *limpetv1.Command_RegisterWorker:
		return m.registerWorker(k.RegisterWorker)
	case *limpetv1.Command_AttachSession:
		return m.attachSession(k.AttachSession)
	case *limpetv1.Command_DetachSession:
		return m.detachSession(k.DetachSession)
	case *limpetv1.Command_SuspectSessions:
		return m.suspectSessions(k.SuspectSessions)
	case *limpetv1.Command_LoseLease:
		return m.loseLease(k.LoseLease)
	case *limpetv1.Command_RemoveWorker:
		return m.removeWorker(k.RemoveWorker)
	case *limpetv1.Command_PutWorkerLabels:
		return m.putWorkerLabels(k.PutWorkerLabels)
	case *limpetv1.Command_SetWorkerMode:
		return m.setWorkerMode(k.SetWorkerMode)
	case *limpetv1.Command_ReportExit:
		return m.reportExit(k.ReportExit)
	case *limpetv1.Command_TriggerRuns:
		return m.triggerRuns(k.TriggerRuns)
	case *limpetv1.Command_CancelTasks:
		return m.cancelTasks(k.CancelTasks)
	case *limpetv1.Command_ReplayTasks:
		return m.replayTasks(k.ReplayTasks)
	case *limpetv1.Command_PushEvents:
		return m.pushEvents(k.PushEvents)
	case *limpetv1.Command_JudgeCondition:
		return m.judgeCondition(k.JudgeCondition)
	case *limpetv1.Command_RefreshTimeout:
		return m.refreshTimeout(k.RefreshTimeout)
	case *limpetv1.Command_ReleaseSlot:
		return m.releaseSlot(k.ReleaseSlot)
	case *limpetv1.Command_PutLogs:
		return m.putLogs(k.PutLogs)
	case *limpetv1.Command_PutChunks:
		return m.putChunks(k.PutChunks)
	case *limpetv1.Command_Assign:
		return m.assign(k.Assign)
	case *limpetv1.Command_ReportStarted:
		return m.reportStarted(k.ReportStarted)
	case *limpetv1.Command_ReportCompleted:
		return m.reportCompleted(k.ReportCompleted)
	case *limpetv1.Command_ReportFailed:
		return m.reportFailed(k.ReportFailed)
	case *limpetv1.Command_ReportCancelled:
		return m.reportCancelled(k.ReportCancelled)
	case *limpetv1.Command_ReleasePin:
		return m.releasePin(k.ReleasePin)
	case *limpetv1.Command_MovePin:
		return m.movePin(k.MovePin)
	default:
		// DecodeEntry has refused the entry already; a caller that builds
		// entries by itself has a bug.
		panic(fmt.Sprintf("fsm: command of unknown kind %T: upgrade this node", k))
	}
}

// kept reports whether the result of a command is kept by its request id, so that the
// command, given again, gives that result and does nothing. A kind that once was kept
// must stay so: a log may have the first of them, and the second come later.
func kept(c Command) bool {
	return len(c.GetRequestId()) > 0 && (c.GetRemember() || remembered(c))
}

// remembered says which commands must not be applied again when their caller
// retries after an unknown outcome. The others are harmless when repeated: ids
// are minted by the caller, reports are fenced by the attempt, and the leader's
// own commands name the epoch or session that they are about.
func remembered(c Command) bool {
	switch c.GetKind().(type) {
	case *limpetv1.Command_AttachSession, *limpetv1.Command_RemoveWorker, *limpetv1.Command_PutWorkerLabels,
		*limpetv1.Command_SetWorkerMode, *limpetv1.Command_CancelTasks, *limpetv1.Command_ReleasePin,
		*limpetv1.Command_PutSettings, *limpetv1.Command_PutWorkflow, *limpetv1.Command_ReplayTasks,
		*limpetv1.Command_PushEvents, *limpetv1.Command_RefreshTimeout, *limpetv1.Command_PutLogs,
		*limpetv1.Command_SetWorkflow, *limpetv1.Command_MovePin, *limpetv1.Command_ReportExit, *limpetv1.Command_RecordAct:
		return true
	}
	return false
}

func (m *Machine) bootstrap(c *limpetv1.Bootstrap) (Result, *Refusal) {
	s := m.st
	if s.clusterID != "" {
		return Result{IDs: []string{s.clusterID}, Ignored: true}, nil
	}
	if !ValidUUID(c.GetTenantId()) {
		return Result{}, refuse(CodeInvalid, "tenant_id", c.GetTenantId(), "must be a UUID", "")
	}
	if c.GetClusterId() == "" || c.GetKeyId() == "" || len(c.GetKey()) == 0 {
		return Result{}, refuse(CodeInvalid, "bootstrap", c.GetClusterId(), "needs a cluster id and a key", "")
	}
	if c.GetSettings() != nil {
		if _, no := m.putSettings(&limpetv1.PutSettings{Settings: c.GetSettings()}); no != nil {
			return Result{}, no
		}
	}
	s.clusterID = c.GetClusterId()
	s.tenants.Set(TenantID(c.GetTenantId()), &Tenant{ID: TenantID(c.GetTenantId()), Name: c.GetTenantName(), CreatedWall: s.stamp.Wall})
	s.keys.Set(c.GetKeyId(), &Key{ID: c.GetKeyId(), PKCS8: c.GetKey(), CreatedWall: s.stamp.Wall})
	return Result{IDs: []string{s.clusterID}}, nil
}
