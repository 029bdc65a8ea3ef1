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
	const patience = 5 * time.Second
	at := c.rand.Perm(len(c.lab.nodes))
	// The second comes close behind the first, or when that is long done.
	after := time.Duration(c.rand.IntN(60)) * time.Millisecond
	if c.rand.IntN(4) == 0 {
		after *= 10
	}
	return c.newDemand(flow, in).make(ctx, c.lab.nodes[at[0]], c.lab.nodes[at[1]], after, patience)
}

// demand is an order of a client's, whose call is noted.
type demand struct {
	client  *client
	order   *order
	outcome func(err error, run, status string)
}

func (c *client) newDemand(flow string, in input) *demand {
	call, outcome := c.invoke(history.OpTrigger, "", flow)
	return &demand{c, c.lab.order(flow, in, call), outcome}
}

// make gives the order to one node and some time later to another, whatever the
// first says, and gives the run that came of it; empty if nobody named one in time.
func (d *demand) make(ctx context.Context, first, second *node, after, patience time.Duration) (run string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	type answer struct {
		run string
		err error
	}
	nodes := []*node{first, second}
	answers := make(chan answer, len(nodes))
	for i, n := range nodes {
		go func() {
			_ = sleep(ctx, time.Duration(i)*after)
			run, err := d.order.give(ctx, n, patience)
			answers <- answer{run, err}
		}()
	}
	for range nodes {
		a := <-answers
		switch {
		case a.err == nil && run == "":
			run = a.run
			d.outcome(nil, run, "")
		case a.err == nil && a.run != run:
			d.outcome(nil, a.run, "") // the judge finds one of them missing, or both
		}
	}
	if run == "" {
		d.outcome(context.DeadlineExceeded, "", "")
		return ""
	}
	d.client.remember(run)
	return run
}

// press gives a node many orders at once, and another one the same orders when
// the first has been cut off and is back.
func (c *client) press(ctx context.Context, first *node) {
	const orders, after, patience = 20, 2500 * time.Millisecond, 10 * time.Second
	second := c.lab.followers(first)[0]
	for range orders {
		d := c.newDemand(flowOne, input{Ms: 10})
		c.lab.load.wg.Go(func() { d.make(ctx, first, second, after, patience) })
	}
}
