package admin

import (
	"context"

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
