package rest

// route is a call that needs a token.
type route struct {
	pattern string // method and path, as [net/http.ServeMux] reads them
	answer  call
}

// routes are all of the calls that need a token. api/openapi.yaml describes
// each of them.
func (s *server) routes() []route {
	const (
		tenant = "/api/v1/tenants/{tenant}"
		stable = "/api/v1/stable"
		inside = stable + "/tenants/{tenant}"
	)
	return []route{
		{"GET /api/v1/cluster", s.cluster},
		{"GET " + tenant, s.tenant},

		{"GET " + tenant + "/worker", s.workers},
		{"GET /api/v1/workers/{worker}", s.worker},
		{"PATCH /api/v1/workers/{worker}", s.patchWorker},
		{"GET /api/v1/workers/{worker}/drain", s.drainState},
		{"POST /api/v1/workers/{worker}/drain", s.drain},
		{"POST /api/v1/workers/{worker}/resume", s.resume},

		{"GET " + tenant + "/workflows", s.workflows},
		{"GET /api/v1/workflows/{workflow}", s.workflow},
		{"PATCH /api/v1/workflows/{workflow}", s.patchWorkflow},
		{"GET /api/v1/workflows/{workflow}/versions", s.version},

		{"GET " + inside + "/workflow-runs", s.runs},
		{"GET " + inside + "/workflow-runs/external-ids", s.runIDs},
		{"POST " + inside + "/workflow-runs/trigger", s.trigger},
		{"GET " + stable + "/workflow-runs/{run}", s.run},
		{"GET " + stable + "/workflow-runs/{run}/status", s.runStatus},
		{"GET " + tenant + "/workflow-runs/{run}/shape", s.runShape},
		{"POST " + stable + "/workflow-runs/{run}/pin/release", s.releasePin},
		{"POST " + stable + "/workflow-runs/{run}/pin/move", s.movePin},
		{"GET " + tenant + "/audit", s.audit},

		{"GET " + stable + "/tasks/{task}", s.task},
		{"GET " + stable + "/tasks/{task}/logs", s.logs},
		{"POST " + inside + "/tasks/cancel", s.cancelTasks},
		{"POST " + inside + "/tasks/replay", s.replayTasks},
		{"GET " + inside + "/task-metrics", s.taskMetrics},
	}
}
