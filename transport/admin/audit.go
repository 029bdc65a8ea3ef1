package admin

import (
	"context"
	"errors"
	"fmt"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/transport/auth"
)

// actor is who the audit names: the id of the caller's token.
func actor(ctx context.Context) string {
	if c, ok := auth.FromContext(ctx); ok && c.TokenID != "" {
		return "token " + c.TokenID
	}
	return "operator"
}

// audited does something to the cluster and keeps it in the audit. A node that takes
// itself out cannot write there afterwards, so it does so first; when it then stays,
// that is kept too.
func (s *Service) audited(ctx context.Context, action, target, reason string, act func() error) error {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return err
	}
	record := func(action, reason string) error {
		_, err := s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_RecordAct{RecordAct: &limpetv1.RecordAct{
			TenantId: string(tenant), Actor: actor(ctx), Action: action, Target: target, Reason: reason,
		}}})
		return err
	}
	if target != string(s.cfg.Backend.Name()) {
		if err := act(); err != nil {
			return err
		}
		if err := record(action, reason); err != nil {
			return fmt.Errorf("it is done, but not in the audit: %w", err)
		}
		return nil
	}
	if err := record(action, reason); err != nil {
		return err
	}
	if err := act(); err != nil {
		return errors.Join(err, record(action+": failed", err.Error()))
	}
	return nil
}

// ListAudit tells what operators did, newest first.
func (s *Service) ListAudit(ctx context.Context, r *limpetv1.ListAuditRequest) (*limpetv1.ListAuditResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(r.GetLimit())
	if limit <= 0 {
		limit = defaultLimit
	}
	out := &limpetv1.ListAuditResponse{}
	for _, a := range s.view().Audits(tenant, limit) {
		out.Acts = append(out.Acts, &limpetv1.AuditInfo{
			Seq: uint64(a.Seq), AtMs: millis(a.Wall), Actor: a.Actor, Action: a.Action, Target: a.Target, From: a.From, To: a.To, Reason: a.Reason,
		})
	}
	return out, nil
}
