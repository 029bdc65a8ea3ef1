package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
	"github.com/limpet-dev/limpet/transport/rest"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

// refusing is a node that takes so many commands and no more.
type refusing struct {
	*transporttest.Node
	takes int
	err   error
}

// ProposeWithin implements [transport.Backend].
func (r *refusing) ProposeWithin(ctx context.Context, hold time.Duration, cmd fsm.Command) (fsm.Result, error) {
	if r.takes == 0 {
		return fsm.Result{}, r.err
	}
	r.takes--
	return r.Node.ProposeWithin(ctx, hold, cmd)
}

// refuse makes the bed's node take so many more commands only.
func (b *bed) refuse(takes int, err error) {
	b.handler = rest.New(rest.Config{
		Backend: &refusing{b.node, takes, err}, Verifier: b.node.Verifier, Counters: b.node.Counters, Version: "v1.2.3",
	})
}

// The text said to come again in ten seconds and the header in one, which is
// what clients obey.
func TestRetryAfterSaysWhatTheTextSays(t *testing.T) {
	b := newBed(t)
	b.node.Client(t).Put(t, oneTask())
	for _, c := range []struct {
		err    error
		status int
		header string
		text   string
	}{
		{fmt.Errorf("propose: %w", &transport.SaturatedError{After: 10 * time.Second}), 429, "10", "try again in 10s"},
		{&transport.SaturatedError{After: 2500 * time.Millisecond}, 429, "3", "try again in 2.5s"},
		{&transport.SaturatedError{}, 429, "1", "nothing was done"},
		{transport.ErrOverloaded, 429, "1", "try again in a second"},
		{context.DeadlineExceeded, 503, "1", "may still happen"},
	} {
		b.refuse(0, c.err)
		w := b.do(http.MethodPost, b.tenantPath("workflow-runs/trigger"), `{"workflowName":"w"}`)
		wantFail(t, w, c.status, c.text)
		if got := w.Header().Get("Retry-After"); got != c.header {
			t.Errorf("%v: Retry-After is %q, want %q", c.err, got, c.header)
		}
	}
}

// Of a replay whose second batch was refused the answer said that nothing was
// done; to send it all again would start anew what the first batch did.
func TestWhatWasDoneBeforeARefusalIsTold(t *testing.T) {
	b := newBed(t)
	b.node.Client(t).Put(t, oneTask())
	var run runSeen
	b.post("workflow-runs/trigger", `{"workflowName":"w"}`, &run)
	const batch = 1000
	ids := strings.Repeat(fmt.Sprintf("%q,", run.Run.Metadata.ID), batch) + `"` + uuid.NewString() + `"`
	for _, c := range []struct {
		what   string
		err    error
		status int
		todo   string
	}{
		{"replay", &transport.SaturatedError{After: 4 * time.Second}, 429, "send only the ids that were not done"},
		{"replay", context.DeadlineExceeded, 503, "send only the ids that were not done"},
		{"cancel", transport.ErrOverloaded, 429, "send the same again"},
	} {
		b.refuse(1, c.err)
		w := b.do(http.MethodPost, b.tenantPath("tasks/"+c.what), `{"externalIds":[`+ids+`]}`)
		wantFail(t, w, c.status, "the first 1000 of 1001 ids were done")
		wantFail(t, w, c.status, c.todo)
		if strings.Contains(w.Body.String(), "nothing was done") {
			t.Errorf("%s: the answer says that nothing was done: %s", c.what, w.Body)
		}
	}
}
