package rpc

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/session"
)

const (
	// wireVersion is the version of the SDKs' protocol that is spoken here; the
	// SDKs choose by it. It is not the version of limpet.
	wireVersion = "v0.80.0"
	// defaultSlots is what a worker has that names no slots.
	defaultSlots = 100
)

// dispatcher is the service Dispatcher.
type dispatcher struct {
	compat.UnimplementedDispatcherServer
	*Services
}

// GetVersion tells the SDK which protocol to speak.
func (d *dispatcher) GetVersion(context.Context, *compat.GetVersionRequest) (*compat.GetVersionResponse, error) {
	return &compat.GetVersionResponse{Version: wireVersion}, nil
}

// Register makes a worker known. The id in the answer is the worker's for the
// life of its process.
func (d *dispatcher) Register(ctx context.Context, r *compat.WorkerRegisterRequest) (*compat.WorkerRegisterResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	cmd, err := registration(t, r)
	if err != nil {
		return nil, err
	}
	if cmd.WorkerId, err = newID(); err != nil {
		return nil, err
	}
	res, err := d.propose(ctx, "register worker "+r.GetWorkerName(), &limpetv1.Command{
		Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: cmd},
	})
	if err != nil {
		return nil, err
	}
	id := cmd.GetWorkerId()
	if len(res.IDs) > 0 {
		id = res.IDs[0] // a worker with an identity gets its old id back
	}
	return &compat.WorkerRegisterResponse{TenantId: string(t), WorkerId: id, WorkerName: r.GetWorkerName()}, nil
}

func registration(t fsm.TenantID, r *compat.WorkerRegisterRequest) (*limpetv1.RegisterWorker, error) {
	if r.GetWebhookId() != "" {
		return nil, invalid("webhook_id", r.GetWebhookId(), "webhook workers are not supported: they hold no stream, so nothing can be pinned to them",
			"start a long-lived worker process")
	}
	err := checkName("worker_name", r.GetWorkerName())
	if err != nil {
		return nil, err
	}
	info := r.GetRuntimeInfo()
	cmd := &limpetv1.RegisterWorker{
		TenantId: string(t), Name: r.GetWorkerName(),
		Sdk: info.GetLanguage().String(), SdkVersion: info.GetSdkVersion(),
		LanguageVersion: info.GetLanguageVersion(), Os: info.GetOs(),
	}
	for _, a := range r.GetActions() {
		if err := checkName("actions", a); err != nil {
			return nil, err
		}
		cmd.Actions = append(cmd.Actions, strings.ToLower(a))
	}
	slices.Sort(cmd.Actions)
	cmd.Actions = slices.Compact(cmd.Actions)
	if cmd.Labels, err = workerLabels("labels", r.GetLabels()); err != nil {
		return nil, err
	}
	switch {
	case r.Slots != nil && len(r.GetSlotConfig()) > 0:
		return nil, invalid("slots", itoa(r.GetSlots()), "either slot_config or slots (deprecated) must be provided, not both", "")
	case r.Slots != nil && r.GetSlots() < 1:
		return nil, invalid("slots", itoa(r.GetSlots()), "must be at least 1", "")
	case r.Slots != nil:
		cmd.Slots = []*limpetv1.SlotRequest{{Type: slotDefault, Units: r.GetSlots()}}
	case len(r.GetSlotConfig()) > 0:
		cmd.Slots, err = slotRequests("slot_config", r.GetSlotConfig())
	default:
		cmd.Slots = []*limpetv1.SlotRequest{{Type: slotDefault, Units: defaultSlots}}
	}
	return cmd, err
}

// ListenV2 streams a worker's assignments.
func (d *dispatcher) ListenV2(r *compat.WorkerListenRequest, stream grpc.ServerStreamingServer[compat.AssignedAction]) error {
	return d.listen(r, stream, false)
}

// Listen is ListenV2 of older SDKs; the stream itself counts as a heartbeat.
func (d *dispatcher) Listen(r *compat.WorkerListenRequest, stream grpc.ServerStreamingServer[compat.AssignedAction]) error {
	return d.listen(r, stream, true)
}

func (d *dispatcher) listen(r *compat.WorkerListenRequest, stream grpc.ServerStreamingServer[compat.AssignedAction], vouches bool) error {
	id, err := checkID("worker_id", r.GetWorkerId())
	if err != nil {
		return err
	}
	// An isolated node says so at once, whether or not it knows the worker.
	if _, err := d.cfg.Hub.Admit(); err != nil {
		return err
	}
	w, err := d.worker(stream.Context(), fsm.WorkerID(id))
	if err != nil {
		return err
	}
	return d.cfg.Hub.Serve(stream.Context(), session.Stream{
		Worker:  w.ID,
		Send:    stream.Send,
		Vouches: vouches,
		Opened: func() {
			// The headers tell the caller that the stream is open. That they
			// cannot be sent shows in the stream's context.
			_ = stream.SendHeader(metadata.MD{})
		},
	})
}

// Heartbeat notes that a worker lives. It is answered without a leader.
func (d *dispatcher) Heartbeat(ctx context.Context, r *compat.HeartbeatRequest) (*compat.HeartbeatResponse, error) {
	id, err := checkID("worker_id", r.GetWorkerId())
	if err != nil {
		return nil, err
	}
	_, err = d.worker(ctx, fsm.WorkerID(id))
	switch {
	case err == nil:
		d.cfg.Backend.Vouch(fsm.WorkerID(id))
	case status.Code(transport.Status(err)) == codes.Unavailable:
		// This node cannot tell whether the worker exists: no reason to send it
		// away.
	default:
		return nil, err
	}
	return &compat.HeartbeatResponse{}, nil
}

// Unsubscribe removes a worker for good.
func (d *dispatcher) Unsubscribe(ctx context.Context, r *compat.WorkerUnsubscribeRequest) (*compat.WorkerUnsubscribeResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("worker_id", r.GetWorkerId())
	if err != nil {
		return nil, err
	}
	_, err = d.propose(ctx, "remove worker "+id, &limpetv1.Command{Kind: &limpetv1.Command_RemoveWorker{
		RemoveWorker: &limpetv1.RemoveWorker{TenantId: string(t), WorkerId: id},
	}})
	if err != nil {
		return nil, err
	}
	return &compat.WorkerUnsubscribeResponse{TenantId: string(t), WorkerId: id}, nil
}

// UpsertWorkerLabels changes labels of a worker; those not named stay.
func (d *dispatcher) UpsertWorkerLabels(ctx context.Context, r *compat.UpsertWorkerLabelsRequest) (*compat.UpsertWorkerLabelsResponse, error) {
	t, err := tenant(ctx)
	if err != nil {
		return nil, err
	}
	id, err := checkID("worker_id", r.GetWorkerId())
	if err != nil {
		return nil, err
	}
	labels, err := workerLabels("labels", r.GetLabels())
	if err != nil {
		return nil, err
	}
	_, err = d.propose(ctx, "label worker "+id, &limpetv1.Command{Kind: &limpetv1.Command_PutWorkerLabels{
		PutWorkerLabels: &limpetv1.PutWorkerLabels{TenantId: string(t), WorkerId: id, Labels: labels},
	}})
	if err != nil {
		return nil, err
	}
	return &compat.UpsertWorkerLabelsResponse{TenantId: string(t), WorkerId: id}, nil
}
