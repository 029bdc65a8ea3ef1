package rest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
	"github.com/limpet-dev/limpet/transport/rest"
)

func TestHealthSaysWhyNot(t *testing.T) {
	up := func() (bool, string) { return true, "" }
	down := func() (bool, string) { return false, "no leader for 3s" }
	mute := func() (bool, string) { return false, "" }
	for _, c := range []struct {
		name   string
		node   int
		ready  func() (bool, string)
		path   string
		status int
		want   string
	}{
		{"live", 0, down, "/livez", 200, "ok"},
		{"live, the other name", 0, down, "/api/live", 200, "ok"},
		{"ready", 1, up, "/readyz", 200, "ok"},
		{"ready without a check", 0, nil, "/readyz", 200, "ok"},
		{"ready, the other name", 1, up, "/api/ready", 200, "ok"},
		{"not ready", 0, down, "/readyz", 503, "not ready: no leader for 3s"},
		{"not ready, the other name", 0, down, "/api/ready", 503, "no leader for 3s"},
		{"not ready for no reason", 0, mute, "/readyz", 503, "gave no reason"},
		{"verbose", 0, up, "/readyz?verbose", 200, "[+] ready ok\nnode n1\nversion v1.2.3\nseq 1\nok\n"},
		{"verbose and not ready", 0, down, "/readyz?verbose", 503, "[-] ready: no leader for 3s"},
		{"leader", 0, up, "/readyz?leader", 200, "ok"},
		{"leader and not ready", 0, down, "/readyz?leader", 503, "no leader for 3s"},
		{"follower", 1, up, "/readyz?leader", 503, "the leader is n1, this is n2"},
		{"follower, verbose", 1, up, "/readyz?leader&verbose", 503, "[+] ready ok\n[-] leader: the leader is n1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBedAt(t, c.node, c.ready)
			b.token = ""
			w := b.do(http.MethodGet, c.path, "")
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("gives %d %q, want %d %q", w.Code, w.Body, c.status, c.want)
			}
		})
	}
}

func TestWhoMayCall(t *testing.T) {
	b := newBed(t)
	own := "/api/v1/tenants/" + string(b.cluster.Tenant)
	other := uuid.NewString()

	w := b.do(http.MethodGet, "/api/v1/tenants/"+other, "")
	wantFail(t, w, http.StatusForbidden, `"`+other+`"`)
	wantFail(t, w, http.StatusForbidden, `"`+string(b.cluster.Tenant)+`"`)
	wantFail(t, b.do(http.MethodGet, "/api/v1/tenants/"+other+"/worker", ""), http.StatusForbidden, other)
	wantFail(t, b.do(http.MethodPost, "/api/v1/stable/tenants/"+other+"/tasks/cancel", "{}"), http.StatusForbidden, other)
	if w := b.do(http.MethodGet, "/api/v1/tenants/"+strings.ToUpper(string(b.cluster.Tenant)), ""); w.Code != http.StatusOK {
		t.Errorf("the own tenant gives %d %s", w.Code, w.Body)
	}

	for _, token := range []string{"", "a.b"} {
		b.token = token
		for _, path := range []string{own, own + "/worker", "/api/v1/cluster", "/api/v1/workers/" + other} {
			w := b.do(http.MethodGet, path, "")
			wantFail(t, w, http.StatusUnauthorized, "token")
			if w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s does not ask for a token", path)
			}
		}
	}
}

func TestANodeOutsideAClusterCannotVerify(t *testing.T) {
	b := newBed(t)
	empty := fsm.NewMachine().View()
	b.handler = rest.New(rest.Config{
		Backend: b.node, Counters: b.node.Counters,
		Verifier: auth.NewVerifier(func() fsm.View { return empty }, b.cluster.Wall),
	})
	w := b.do(http.MethodGet, "/api/v1/cluster", "")
	wantFail(t, w, http.StatusServiceUnavailable, "has not joined")
	if w.Header().Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
}

func TestARemovedNodeSendsCallersToAnother(t *testing.T) {
	b := newBed(t)
	why := ""
	b.handler = rest.New(rest.Config{
		Backend: b.node, Verifier: b.node.Verifier, Counters: b.node.Counters, Outside: func() string { return why },
	})
	if w := b.do(http.MethodGet, "/api/v1/cluster", ""); w.Code != http.StatusOK {
		t.Fatalf("a node inside gives %d %s", w.Code, w.Body)
	}
	why = "this node was removed"
	wantFail(t, b.do(http.MethodGet, "/api/v1/cluster", ""), http.StatusServiceUnavailable, why)
}

func TestWhatIsNotServedSaysSo(t *testing.T) {
	b := newBed(t)
	b.token = ""
	for _, c := range [][2]string{
		{http.MethodGet, "/api/v1/nothing"},
		{http.MethodDelete, "/api/v1/workers/x"},
		{http.MethodPost, "/livez"},
		{http.MethodGet, "/favicon.ico"},
	} {
		wantFail(t, b.do(c[0], c[1], ""), http.StatusNotFound, c[0]+" "+c[1]+" is not served")
	}
}

func TestAPanicIsAnswered(t *testing.T) {
	b := newBedAt(t, 0, func() (bool, string) { panic("broken") })
	wantFail(t, b.do(http.MethodGet, "/readyz", ""), http.StatusInternalServerError, "internal error")
}

func TestWithoutALeader(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	id := client.Register(t, worker("w", "w:w"))
	b.cluster.SetLeader(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the caller has no more patience

	send := func(method, path, body string) *httptest.ResponseRecorder {
		return b.serve(httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
	}
	wantFail(t, send(http.MethodPatch, "/api/v1/workers/"+string(id), `{"isPaused":true}`), http.StatusServiceUnavailable, "may still happen")
	wantFail(t, send(http.MethodGet, "/api/v1/workers/"+uuid.NewString(), ""), http.StatusServiceUnavailable, "whether its state is current")
	if w := send(http.MethodGet, "/api/v1/workers/"+string(id), ""); w.Code != http.StatusOK {
		t.Errorf("what the node knows gives %d %s", w.Code, w.Body)
	}
}

func TestTheClusterIsDescribed(t *testing.T) {
	b := newBedAt(t, 1, nil)
	var got struct {
		ClusterID string `json:"cluster_id"`
		Leader    string
		Nodes     []map[string]any
	}
	b.read(http.MethodGet, "/api/v1/cluster", "", &got)
	if got.ClusterID != b.cluster.View().ClusterID() || got.Leader != "n1" || len(got.Nodes) != 2 {
		t.Fatalf("the cluster is %+v", got)
	}
	for _, name := range []string{
		"name", "state", "voter", "gossip", "peer_addr", "grpc_addr", "http_addr", "version", "term", "commit",
		"applied", "seq", "state_hash", "workers", "uptime_seconds", "error",
	} {
		if _, ok := got.Nodes[1][name]; !ok {
			t.Errorf("a node has no %s: %v", name, got.Nodes[1])
		}
	}
	if got.Nodes[0]["state"] != "leader" || got.Nodes[1]["name"] != "n2" || got.Nodes[1]["state_hash"] == "" {
		t.Errorf("the nodes are %v", got.Nodes)
	}
}

func TestAnybodyMaySeeTheSummaryAndThePage(t *testing.T) {
	b := newBedAt(t, 1, nil)
	b.token = ""
	w := b.do(http.MethodGet, "/status.json", "")
	const want = `{"leader":"n1","node":"n2","nodes":[{"name":"n1","state":"leader"},{"name":"n2","state":"follower"}]}`
	if w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("the summary is %d %s", w.Code, w.Body)
	}
	w = b.do(http.MethodGet, "/", "")
	html := w.Body.String()
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(html, "/status.json") {
		t.Errorf("the page is %d %s", w.Code, w.Header())
	}
	if strings.Contains(html, "http://") || strings.Contains(html, "https://") || strings.Contains(html, "//cdn") {
		t.Error("the page loads something from elsewhere")
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Count(policy, "'sha256-") != 2 {
		t.Errorf("the policy is %q", policy)
	}
}

func TestTheTenantIsDescribed(t *testing.T) {
	b := newBed(t)
	var got struct {
		Metadata struct {
			ID                   string
			CreatedAt, UpdatedAt time.Time
		}
		Name, Slug, Version string
	}
	b.read(http.MethodGet, "/api/v1/tenants/"+string(b.cluster.Tenant), "", &got)
	if got.Metadata.ID != string(b.cluster.Tenant) || !got.Metadata.CreatedAt.Equal(b.cluster.Wall()) || got.Metadata.UpdatedAt.IsZero() ||
		got.Name != "default" || got.Slug != "default" || got.Version != "V1" {
		t.Errorf("the tenant is %+v", got)
	}
}

func TestMetricsAreThereFromTheStart(t *testing.T) {
	b := newBed(t)
	b.token = ""
	w := b.do(http.MethodGet, "/metrics", "")
	text := w.Body.String()
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("gives %d %v", w.Code, w.Header())
	}
	for _, line := range []string{
		"limpet_ready 1", "limpet_fsm_seq 1", "limpet_live_runs 0", `limpet_task_runs{state="held"} 0`, `limpet_task_runs{state="parked"} 0`,
		`limpet_task_runs{state="queued"} 0`, `limpet_workers{lease="live"} 0`, `limpet_workers{lease="lost"} 0`,
		`limpet_workers{lease="suspect"} 0`, "limpet_pins 0", "limpet_sessions 0", `limpet_refusals_total{code="INVALID"} 0`,
		`limpet_refusals_total{code="EXHAUSTED"} 0`, "limpet_dispatched_total 0", "limpet_cancels_total 0", "limpet_results_total 0",
		"limpet_saturated 0", "limpet_saturation_refusals_total 0", "limpet_repeated_commands_total 0", "limpet_fenced_reports_total 0", "limpet_oversized_total 0", "# TYPE limpet_calls_total counter",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if !strings.Contains(text, `,version="v1.2.3"} 1`) {
		t.Errorf("no build info in\n%s", text)
	}
	described := ""
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if fields[0] == "#" {
			described = fields[2]
		} else if name, _, _ := strings.Cut(fields[0], "{"); name != described {
			t.Errorf("%q has no HELP and TYPE", line)
		}
	}
}

func TestMetricsFollowWhatHappens(t *testing.T) {
	b := newBed(t)
	client := b.node.Client(t)
	client.Put(t, oneTask())
	stream := client.Listen(t, client.Register(t, worker("w", "w:w")))
	client.Trigger(t, trigger())
	stream.Next(t)
	client.Register(t, worker("quiet"))
	wantFail(t, b.do(http.MethodGet, "/api/v1/workers/"+uuid.NewString(), ""), http.StatusNotFound, "no such worker")
	text := b.do(http.MethodGet, "/metrics", "").Body.String()
	for _, line := range []string{
		"limpet_live_runs 1", `limpet_task_runs{state="held"} 1`, `limpet_workers{lease="live"} 1`, `limpet_workers{lease="suspect"} 1`,
		"limpet_sessions 1", "limpet_dispatched_total 1", `limpet_refusals_total{code="NOT_FOUND"} 1`,
		`limpet_calls_total{code="OK",method="/Dispatcher/Register"} 2`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if again := b.do(http.MethodGet, "/metrics", "").Body.String(); again != text {
		t.Error("the same state gives other metrics")
	}
}
