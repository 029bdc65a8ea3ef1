package rpc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/api/compat"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

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
	cmd.Incarnation, cmd.Member = transport.Header(ctx, limpetv1.HeaderIncarnation), transport.Header(ctx, limpetv1.HeaderMember)
	res, err := d.enroll(ctx, cmd)
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
	if err = place(cmd); err != nil {
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

// maxIdentity bounds what names a place, its state or a process, in bytes.
const maxIdentity = 256

// place reads from the labels where the worker is, so that its id comes back to
// it there.
func place(cmd *limpetv1.RegisterWorker) error {
	for _, l := range cmd.GetLabels() {
		field := "labels[" + l.GetKey() + "]"
		text := (&fsm.Label{IsNumber: l.GetIsNumber(), Text: l.GetText(), Number: l.GetNumber()}).Value()
		switch l.GetKey() {
		case limpetv1.LabelIdentity:
			if strings.TrimSpace(text) == "" {
				return invalid(field, text, "must not be empty", "leave the label out for a worker without an identity")
			}
			cmd.Identity = text
		case limpetv1.LabelGeneration:
			cmd.Generation = text
		default:
			continue
		}
		if len(text) > maxIdentity {
			return invalid(field, text, "must be at most "+itoa(maxIdentity)+" bytes", "")
		}
	}
	return nil
}

// enroll registers a worker. While another process holds the identity that it
// asks for it waits: most often that one has just died.
func (d *dispatcher) enroll(ctx context.Context, cmd *limpetv1.RegisterWorker) (fsm.Result, error) {
	until := time.Now().Add(d.cfg.RegisterHold)
	for {
		res, err := d.propose(ctx, "register worker "+cmd.GetName(), &limpetv1.Command{
			Kind: &limpetv1.Command_RegisterWorker{RegisterWorker: cmd},
		})
		var refusal *fsm.Refusal
		if !errors.As(err, &refusal) || refusal.Code != fsm.CodeBusy {
			return res, err
		}
		if !d.awaitPlace(ctx, fsm.TenantID(cmd.GetTenantId()), cmd.GetIdentity(), until) {
			return res, err
		}
	}
}

// awaitPlace waits until nobody holds the identity; false if that takes too
// long.
func (d *dispatcher) awaitPlace(ctx context.Context, t fsm.TenantID, identity string, until time.Time) bool {
	const look = 50 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for time.Now().Before(until) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if w, ok := d.cfg.Backend.View().Place(t, identity); !ok || w.Vacant() {
			return true
		}
	}
	return false
}
