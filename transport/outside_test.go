package transport

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestANodeOutsideTheClusterSendsCallersToAnother(t *testing.T) {
	i := &interceptor{role: MethodRole, outside: func() string { return "it was removed" }}
	for method, want := range map[string]codes.Code{
		"/limpet.v1.Admin/ListRuns": codes.Unavailable, "/Dispatcher/Heartbeat": codes.Unavailable, "/grpc.health.v1.Health/Check": codes.OK,
	} {
		_, err := i.admit(t.Context(), method)
		if status.Code(err) != want || err != nil && !strings.Contains(err.Error(), "it was removed") {
			t.Errorf("%s: %v, want %v", method, err, want)
		}
	}
}
