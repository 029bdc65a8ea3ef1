package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/connectivity"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/rest"
	"github.com/limpet-dev/limpet/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a cluster and the handler of one of its nodes.
type bed struct {
	tb      testing.TB
	cluster *transporttest.Cluster
	node    *transporttest.Node
	handler http.Handler
	token   string

	contract *contract // every answer is compared with it
}

func newBed(tb testing.TB) *bed {
	tb.Helper()
	return newBedAt(tb, 0, nil)
}

// newBedAt takes the i-th of two nodes; the first is the leader.
func newBedAt(tb testing.TB, i int, ready func() (bool, string)) *bed {
	tb.Helper()
	cluster := transporttest.New(tb, transporttest.Config{Nodes: 2})
	for _, n := range cluster.Nodes {
		awaitServer(tb, n)
	}
	node := cluster.Nodes[i]
	return &bed{tb: tb, cluster: cluster, node: node, token: node.Token(tb, auth.RoleSDK), contract: readContract(tb), handler: rest.New(rest.Config{
		Backend: node, Verifier: node.Verifier, Counters: node.Counters, Ready: ready, Version: "v1.2.3",
	})}
}

// awaitServer waits until a node's gRPC server runs: it must not be stopped
// before it has started.
func awaitServer(tb testing.TB, n *transporttest.Node) {
	tb.Helper()
	conn, ctx := n.Dial(tb, ""), transporttest.Context(tb)
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			tb.Fatalf("the server of node %s does not start: the connection is %s", n.Name(), state)
		}
	}
}

// do makes a request with the bed's token.
func (b *bed) do(method, path, body string) *httptest.ResponseRecorder {
	b.tb.Helper()
	r := httptest.NewRequestWithContext(b.tb.Context(), method, path, strings.NewReader(body))
	return b.serve(r)
}

func (b *bed) serve(r *http.Request) *httptest.ResponseRecorder {
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	b.contract.check(b.tb, r, w)
	return w
}

// read makes a request that must be answered with 200 and reads its JSON.
func (b *bed) read(method, path, body string, into any) {
	b.tb.Helper()
	w := b.do(method, path, body)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		b.tb.Fatalf("%s %s gives %d %s", method, path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		b.tb.Fatalf("%s %s gives %s: %v", method, path, w.Body, err)
	}
}

// wantFail checks the status, the form of errors, and a part of the sentence.
func wantFail(tb testing.TB, w *httptest.ResponseRecorder, status int, part string) {
	tb.Helper()
	var got struct {
		Errors []struct{ Description string }
	}
	err := json.Unmarshal(w.Body.Bytes(), &got)
	if err != nil || w.Code != status || len(got.Errors) != 1 || !strings.Contains(got.Errors[0].Description, part) {
		tb.Errorf("gives %d %s, want %d and %q", w.Code, strings.TrimSpace(w.Body.String()), status, part)
	}
}

// oneTask is the workflow w of one task with the action w:w.
func oneTask() *compatv1.CreateWorkflowVersionRequest {
	return &compatv1.CreateWorkflowVersionRequest{
		Name: "w", Tasks: []*compatv1.CreateTaskOpts{{ReadableId: "w", Action: "w:w", Timeout: "60s"}},
	}
}

// trigger asks for a run of it.
func trigger() *compatv1.TriggerWorkflowRequest {
	return &compatv1.TriggerWorkflowRequest{Name: "w", Input: "{}"}
}

func worker(name string, actions ...string) *compat.WorkerRegisterRequest {
	return &compat.WorkerRegisterRequest{WorkerName: name, Actions: actions, SlotConfig: map[string]int32{"default": 10, "durable": 3}}
}
