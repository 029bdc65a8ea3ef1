package lab

import (
	"context"
	"encoding/base64"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/faults/history"
)

// answering is a node that answers triggers with codes, one after the other.
type answering struct {
	compat.UnimplementedWorkflowServiceServer
	codes []codes.Code
}

func (a *answering) TriggerWorkflow(context.Context, *compatv1.TriggerWorkflowRequest) (*compat.TriggerWorkflowResponse, error) {
	code := a.codes[0]
	a.codes = a.codes[1:]
	return nil, status.Error(code, "no")
}

func TestACallIsRefusedOnlyIfItWasMadeOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		codes []codes.Code
		want  history.Kind
	}{
		{"exhausted", []codes.Code{codes.ResourceExhausted}, history.Refused},
		{"invalid", []codes.Code{codes.InvalidArgument}, history.Refused},
		{"internal", []codes.Code{codes.Internal}, history.Unknown},
		{"refused after a try that nobody knows of", []codes.Code{codes.Unavailable, codes.ResourceExhausted, codes.InvalidArgument}, history.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			compat.RegisterWorkflowServiceServer(server, &answering{codes: c.codes})
			go func() { _ = server.Serve(ln) }()
			t.Cleanup(server.Stop)
			l := &Lab{history: history.NewRecorder(nil), token: "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"707d0855-80ab-4e1f-a156-f1c4546cbf52"}`)) + ".s", nodes: []*node{{grpc: ln.Addr().String()}}}
			caller, err := l.newClient("c", 1)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = caller.sdk.Close() })
			caller.trigger(t.Context(), flowOne, input{})
			h := l.history.History()
			if last := h[len(h)-1]; last.Kind != c.want {
				t.Errorf("recorded %s (%s), want %s", last.Kind, last.Detail, c.want)
			}
		})
	}
	if refused(repeated(status.Error(codes.ResourceExhausted, "no"))) || repeated(nil) != nil {
		t.Error("an order that went to two nodes counts as refused by both")
	}
}
