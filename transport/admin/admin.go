// Package admin serves the operators' API, limpet.v1.Admin.
package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/session"
)

// Operator is what the service needs beyond the [transport.Backend].
type Operator interface {
	// Leave takes this node out of the cluster for good.
	Leave(ctx context.Context) error
}

// Config is what the service is made of.
type Config struct {
	Backend  transport.Backend
	Hub      *session.Hub
	Operator Operator
	// GRPCAddress and ServerURL are put into new tokens.
	GRPCAddress, ServerURL string
	Version                string
	Now                    func() time.Time
}

// Service implements limpet.v1.Admin.
type Service struct {
	limpetv1.UnimplementedAdminServer
	cfg Config
}

// New makes the service.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// callTimeout bounds a call whose caller set no deadline.
const callTimeout = 15 * time.Second

func tenantOf(ctx context.Context) (fsm.TenantID, error) {
	c, ok := auth.FromContext(ctx)
	if !ok {
		return "", &auth.Error{Kind: auth.Unauthenticated, Text: "the call carries no token"}
	}
	return c.Tenant, nil
}

// view is the state with its clock moved to now, for ages and countdowns.
func (s *Service) view() fsm.View {
	v := s.cfg.Backend.View()
	if idle := s.cfg.Now().UnixNano() - v.Wall(); idle > 0 && v.Wall() > 0 {
		return v.At(v.Now().Add(time.Duration(idle)))
	}
	return v
}

// propose hands the command over and turns a refusal into an error.
func (s *Service) propose(ctx context.Context, cmd *limpetv1.Command) (fsm.Result, error) {
	res, err := s.cfg.Backend.ProposeWithin(ctx, callTimeout, cmd)
	if errors.Is(err, transport.ErrOverloaded) {
		return res, transport.Unconfirmed("the command", err)
	}
	if err != nil {
		return res, transport.Unavailable("%v", err)
	}
	if res.Refusal != nil {
		return res, res.Refusal
	}
	return res, nil
}

// GetClusterStatus asks every node.
func (s *Service) GetClusterStatus(ctx context.Context, _ *limpetv1.GetClusterStatusRequest) (*limpetv1.GetClusterStatusResponse, error) {
	st, err := s.cfg.Backend.ClusterStatus(ctx)
	if err != nil {
		return nil, transport.Unavailable("%v", err)
	}
	n := s.cfg.Backend.View().Counts()
	out := &limpetv1.GetClusterStatusResponse{
		ClusterId: st.ClusterID, Leader: string(st.Leader), AnsweredBy: string(s.cfg.Backend.Name()), Saturated: st.Saturated,
		LiveRuns: int64(n.LiveRuns), Queued: int64(n.Queued), Parked: int64(n.Parked), Held: int64(n.Held),
		Workers: int64(n.Workers), Pins: int64(n.Pins),
	}
	for _, x := range st.Nodes {
		out.Nodes = append(out.Nodes, &limpetv1.NodeInfo{
			Name: string(x.Name), State: x.State, Voter: x.Voter, Gossip: x.Gossip, Term: x.Term, Commit: x.Commit,
			Applied: x.Applied, Seq: uint64(x.Seq), StateHash: x.StateHash, Grpc: x.GRPCAddr, Http: x.HTTPAddr, Peer: x.PeerAddr,
			Version: x.Version, UptimeSeconds: int64(x.Since / time.Second), Error: x.Error,
		})
	}
	return out, nil
}

// RemoveNode takes a node out of the Raft configuration.
func (s *Service) RemoveNode(ctx context.Context, r *limpetv1.RemoveNodeRequest) (*limpetv1.RemoveNodeResponse, error) {
	if r.GetName() == "" {
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "name", Want: "must name a node", Hint: "see `limpet cluster status`"}
	}
	reason := ""
	if r.GetForce() {
		reason = "forced"
	}
	err := s.audited(ctx, "cluster remove", r.GetName(), reason, func() error {
		return s.cfg.Backend.RemoveNode(ctx, fsm.NodeID(r.GetName()), r.GetForce())
	})
	if err != nil {
		return nil, conflict("name", r.GetName(), err)
	}
	return &limpetv1.RemoveNodeResponse{}, nil
}

// LeaveCluster takes this node out for good.
func (s *Service) LeaveCluster(ctx context.Context, _ *limpetv1.LeaveClusterRequest) (*limpetv1.LeaveClusterResponse, error) {
	name := string(s.cfg.Backend.Name())
	if err := s.audited(ctx, "cluster leave", name, "", func() error { return s.cfg.Operator.Leave(ctx) }); err != nil {
		return nil, conflict("node", name, err)
	}
	return &limpetv1.LeaveClusterResponse{Name: name}, nil
}

// TransferLeadership hands leadership to another node.
func (s *Service) TransferLeadership(ctx context.Context, _ *limpetv1.TransferLeadershipRequest) (*limpetv1.TransferLeadershipResponse, error) {
	if err := s.audited(ctx, "cluster transfer-leader", "", "", func() error { return s.cfg.Backend.TransferLeadership(ctx) }); err != nil {
		return nil, conflict("leader", "", err)
	}
	return &limpetv1.TransferLeadershipResponse{}, nil
}

// CreateToken signs a token for the caller's tenant.
func (s *Service) CreateToken(ctx context.Context, r *limpetv1.CreateTokenRequest) (*limpetv1.CreateTokenResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	role := auth.Role(r.GetRole())
	if role == "" {
		role = auth.RoleSDK
	}
	if role != auth.RoleSDK && role != auth.RoleAdmin {
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "role", Got: r.GetRole(), Want: "must be sdk or admin"}
	}
	const year = 365 * 24 * time.Hour
	ttl := time.Duration(r.GetTtlSeconds()) * time.Second
	switch {
	case ttl < 0:
		return nil, &fsm.Refusal{Code: fsm.CodeInvalid, Field: "ttl_seconds", Got: fmt.Sprint(r.GetTtlSeconds()), Want: "must be positive"}
	case ttl == 0:
		ttl = year
	}
	address := r.GetGrpcAddress()
	if address == "" {
		address = s.cfg.GRPCAddress
	}
	token, err := auth.Issue(s.cfg.Backend.View(), auth.Grant{
		Tenant: tenant, Role: role, ServerURL: s.cfg.ServerURL, GRPCAddress: address, Issued: s.cfg.Now(), TTL: ttl,
	})
	if err != nil {
		return nil, conflict("token", string(role), err)
	}
	return &limpetv1.CreateTokenResponse{Token: token}, nil
}

// TriggerRun starts a run.
func (s *Service) TriggerRun(ctx context.Context, r *limpetv1.TriggerRunRequest) (*limpetv1.TriggerRunResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	input, err := jsonObject("input", r.GetInput())
	if err != nil {
		return nil, err
	}
	metadata, err := jsonObject("metadata", r.GetMetadata())
	if err != nil {
		return nil, err
	}
	if r.GetMetadata() == "" {
		metadata = nil
	}
	onLost, err := transport.OnLost("metadata", metadata)
	if err != nil {
		return nil, err
	}
	desired := r.GetDesiredWorker()
	if desired != "" {
		w, err := findWorker(s.view(), tenant, desired)
		if err != nil {
			return nil, err
		}
		desired = string(w.ID)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("mint a run id: %w", err)
	}
	res, err := s.propose(ctx, &limpetv1.Command{Kind: &limpetv1.Command_TriggerRuns{TriggerRuns: &limpetv1.TriggerRuns{
		TenantId: string(tenant),
		Runs: []*limpetv1.RunSpec{{
			RunId: id.String(), Workflow: r.GetWorkflow(), Input: input, Metadata: metadata,
			Priority: r.GetPriority(), DesiredWorker: desired, OnLost: onLost,
		}},
	}}})
	if err != nil {
		return nil, err
	}
	return &limpetv1.TriggerRunResponse{Id: res.IDs[0]}, nil
}
