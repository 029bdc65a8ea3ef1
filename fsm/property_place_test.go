package fsm_test

import (
	"fmt"
	"slices"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// naivePlaces is what the naive model knows of places: how often the process at
// each was started, and how often its state was lost.
type naivePlaces struct {
	start      map[string]int
	generation map[string]int
	slots      int32
	actions    []string
}

// start registers the place's next process, as its agent does; worker0 is of a
// program without an identity.
func (n *naive) start(place string) fsm.Result {
	n.places.start[place]++
	actions := slices.Clone(n.places.actions)
	slices.Sort(actions)
	c := &limpetv1.RegisterWorker{
		WorkerId: n.mint(), Name: place, Actions: slices.Compact(actions),
		Slots: []*limpetv1.SlotRequest{{Type: "default", Units: n.places.slots}},
	}
	if place != "worker0" {
		c.Identity, c.Generation = place, fmt.Sprint(n.places.generation[place])
		c.Incarnation = fmt.Sprintf("%s-%d", place, n.places.start[place])
	}
	return n.enroll(c)
}

// place lets a process end, come back, come back without its state, or be
// claimed by a second one while it lives.
func (n *naive) place(verb, w string) {
	if w == "worker0" {
		return
	}
	before := n.worker(w)
	free := before.Lease.State == fsm.LeaseLost || before.Lease.State == fsm.LeaseSuspect && before.Lease.Session == ""
	if verb == "claim" {
		incarnation := n.incarnation[w]
		switch res := n.start(w); {
		case free && res.Refusal != nil:
			n.t.Fatalf("a place that nobody holds was refused: %v", res.Refusal)
		case !free && (res.Refusal == nil || res.Refusal.Code != fsm.CodeBusy):
			n.t.Fatalf("two processes have the identity %q: %+v", w, res)
		case !free:
			n.incarnation[w] = incarnation
		case res.IDs[0] != string(before.ID):
			n.t.Fatalf("place %q came back as worker %s, want %s", w, res.IDs[0], before.ID)
		}
		return
	}
	n.do(&limpetv1.Command{Kind: &limpetv1.Command_ReportExit{ReportExit: &limpetv1.ReportExit{
		TenantId: testTenant, WorkerId: n.id(w), Incarnation: before.Incarnation, Reason: "killed",
	}}})
	n.look(verb, nil)
	if verb == "exit" {
		return
	}
	if verb == "wipe" {
		n.places.generation[w]++
	}
	res := n.start(w)
	if res.Refusal != nil {
		n.t.Fatalf("the next start of place %q was refused: %v", w, res.Refusal)
	}
	if same := res.IDs[0] == string(before.ID); same != (verb == "restart") {
		n.t.Fatalf("%s of place %q: worker %s is now %s", verb, w, before.ID, res.IDs[0])
	}
	if after := n.worker(w); verb == "restart" && after.Lease.Epoch <= before.Lease.Epoch {
		n.t.Fatalf("restart of place %q: the epoch was %d and is %d", w, before.Lease.Epoch, after.Lease.Epoch)
	}
	n.look(verb, nil)
	n.attach(w, "node-1")
	// The process before is dead, and must not come back even if it is not.
	n.do(&limpetv1.Command{Kind: &limpetv1.Command_AttachSession{AttachSession: &limpetv1.AttachSession{
		WorkerId: string(before.ID), Node: "node-2", Session: "zombie", Incarnation: before.Incarnation,
	}}})
	if n.last.Refusal == nil || n.last.Refusal.Code != fsm.CodeFenced {
		n.t.Fatalf("%s of place %q: the process before could open a stream: %+v", verb, w, n.last)
	}
}

// moveOne lets an operator move the pin of a random run.
func (n *naive) moveOne(w string) {
	if len(n.runs) == 0 {
		return
	}
	run := n.runs[len(n.runs)-1]
	res := n.do(&limpetv1.Command{Kind: &limpetv1.Command_MovePin{MovePin: &limpetv1.MovePin{
		TenantId: testTenant, RunId: run, WorkerId: n.id(w), Reason: "test",
	}}})
	if res.Refusal == nil {
		n.released[fsm.RunID(run)] = true
	}
}

func (n *naive) lostNow(v fsm.View, id fsm.WorkerID) bool {
	w, ok := v.Worker(id)
	return !ok || w.Lease.State == fsm.LeaseLost || n.gone[id]
}

// unpinStateless releases the runs that wait for state that is gone for good.
func (n *naive) unpinStateless() {
	var stuck []fsm.RunID
	for p := range n.m.Peek().Pins() {
		if w, ok := n.m.Peek().Worker(p.Worker); ok && w.Lease.State == fsm.LeaseLost && strings.Contains(w.Lease.Reason, "without its state") {
			stuck = append(stuck, p.Run)
		}
	}
	for _, run := range stuck {
		n.released[run] = true
		n.do(&limpetv1.Command{Kind: &limpetv1.Command_ReleasePin{ReleasePin: &limpetv1.ReleasePin{TenantId: testTenant, RunId: string(run), Reason: "test"}}})
	}
}
