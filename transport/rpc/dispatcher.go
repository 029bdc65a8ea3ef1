package rpc

import (
	"context"

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
		Worker:      w.ID,
		Incarnation: transport.Header(stream.Context(), limpetv1.HeaderIncarnation),
		Send:        stream.Send,
		Vouches:     vouches,
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
	w, err := d.worker(ctx, fsm.WorkerID(id))
	switch {
	case err == nil:
		if no := w.Replaced(transport.Header(ctx, limpetv1.HeaderIncarnation)); no != nil {
			return nil, no
		}
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
		RemoveWorker: &limpetv1.RemoveWorker{TenantId: string(t), WorkerId: id, Incarnation: transport.Header(ctx, limpetv1.HeaderIncarnation)},
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
		PutWorkerLabels: &limpetv1.PutWorkerLabels{
			TenantId: string(t), WorkerId: id, Labels: labels, Incarnation: transport.Header(ctx, limpetv1.HeaderIncarnation),
		},
	}})
	if err != nil {
		return nil, err
	}
	return &compat.UpsertWorkerLabelsResponse{TenantId: string(t), WorkerId: id}, nil
}
