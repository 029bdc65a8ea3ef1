package fsm

import limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"

// maxAudits is how many acts the audit keeps.
const maxAudits = 1000

// Audit is an act of an operator, or one that the cluster did on an operator's
// standing word.
type Audit struct {
	Seq    Seq
	Wall   int64
	Tenant TenantID
	// Actor is who did it: the id of a token, or "limpet".
	Actor string
	// Action is what was done, in the words of the command line.
	Action string
	// Target is the run, worker, workflow or node.
	Target string
	From   string
	To     string
	Reason string
}

func (a *Audit) fields(c *codec) {
	num(c, 1, &a.Seq)
	num(c, 2, &a.Wall)
	str(c, 3, &a.Tenant)
	str(c, 4, &a.Actor)
	str(c, 5, &a.Action)
	str(c, 6, &a.Target)
	str(c, 7, &a.From)
	str(c, 8, &a.To)
	str(c, 9, &a.Reason)
}

// audit keeps an act; acts of one command get different places.
func (m *Machine) audit(a *Audit) {
	s := m.st
	last, _, _ := s.audits.Max()
	a.Seq, a.Wall, a.Actor = max(s.seq, last+1), s.stamp.Wall, or(a.Actor, "limpet")
	s.audits.Set(a.Seq, a)
	for s.audits.Len() > maxAudits {
		s.audits.PopMin()
	}
}

// auditBatch keeps what an operator did to many at once: one act, so that it does
// not push out all others. What changed nothing is not kept.
func (m *Machine) auditBatch(tenant, actor, action string, ids []string, reason string, did Result) {
	if actor == "" || did.Ignored || len(ids) == 0 {
		return
	}
	target := ids[0]
	if more := len(ids) - 1; more > 0 {
		target += " and " + itoa(more) + " more"
	}
	m.audit(&Audit{Tenant: TenantID(tenant), Actor: actor, Action: action, Target: target, Reason: reason})
}

// recordAct keeps what an operator did outside of the state.
func (m *Machine) recordAct(c *limpetv1.RecordAct) (Result, *Refusal) {
	if _, ok := m.st.tenants.Get(TenantID(c.GetTenantId())); !ok {
		return Result{}, refuse(CodeInvalid, "tenant_id", c.GetTenantId(), "no such tenant", "")
	}
	if c.GetAction() == "" {
		return Result{}, refuse(CodeInvalid, "action", "", "must say what was done", "")
	}
	m.audit(&Audit{
		Tenant: TenantID(c.GetTenantId()), Actor: c.GetActor(), Action: c.GetAction(), Target: c.GetTarget(), Reason: c.GetReason(),
	})
	return Result{}, nil
}

// Audits gives the acts of a tenant, newest first, at most so many; 0 for all
// that are kept.
func (v View) Audits(t TenantID, limit int) []*Audit {
	var out []*Audit
	v.st.audits.Reverse(func(_ Seq, a *Audit) bool {
		if a.Tenant == t {
			out = append(out, a)
		}
		return limit == 0 || len(out) < limit
	})
	return out
}
