package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/faults/history"
)

// order is a trigger that may be given to several nodes: its request id makes it
// one.
type order struct {
	lab     *Lab
	id      string
	request *compatv1.TriggerWorkflowRequest
}

func (l *Lab) order(flow string, in input, call string) *order {
	raw, err := json.Marshal(in)
	if err != nil {
		panic(err) // of numbers and texts
	}
	return &order{l, uuid.NewString(), &compatv1.TriggerWorkflowRequest{
		Name: flow, Input: string(raw), AdditionalMetadata: new(fmt.Sprintf(`{%q:%q}`, callName, call)),
	}}
}

// give gives the order to one node, and the run that it made of it.
func (o *order) give(ctx context.Context, n *node, patience time.Duration) (run string, err error) {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(o.lab.asAdmin(ctx), limpetv1.HeaderRequestID, o.id), patience)
	defer cancel()
	res, err := compat.NewWorkflowServiceClient(n.conn).TriggerWorkflow(ctx, o.request)
	return res.GetWorkflowRunId(), err //nolint:wrapcheck // its code is looked at
}

// insist starts a run as a client without patience does: it does not wait for
// the answer of one node before it asks the next. All of them must name one run.
func (c *client) insist(ctx context.Context, flow string, in input) (run string) {
	call, outcome := c.invoke(history.OpTrigger, "", flow)
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	order := c.lab.order(flow, in, call)
	type answer struct {
		run string
		err error
	}
	const nodes = 2
	answers := make(chan answer, nodes)
	for i, at := range c.rand.Perm(len(c.lab.nodes))[:nodes] {
		// The second comes close behind the first, or when that is long done.
		after := time.Duration(i*c.rand.IntN(60)) * time.Millisecond
		if c.rand.IntN(4) == 0 {
			after *= 10
		}
		go func() {
			_ = sleep(ctx, after)
			run, err := order.give(ctx, c.lab.nodes[at], patience)
			answers <- answer{run, err}
		}()
	}
	for range nodes {
		a := <-answers
		switch {
		case a.err == nil && run == "":
			run = a.run
			outcome(nil, run, "")
		case a.err == nil && a.run != run:
			outcome(nil, a.run, "") // the judge finds one of them missing, or both
		}
	}
	if run == "" {
		outcome(context.DeadlineExceeded, "", "")
		return ""
	}
	c.remember(run)
	return run
}
