package rest

import (
	"net/http"
	"net/http/pprof"

	"github.com/limpet-dev/limpet/transport/auth"
)

// profiles serves the runtime's profiles under /debug/pprof, to tokens of role
// admin: they tell how the program was started, which may be with the cluster's
// key, and a CPU profile costs some of what it measures.
func (s *server) profiles(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			c, err := s.Verifier.Request(r)
			if err == nil {
				err = c.Require(auth.RoleAdmin)
			}
			if err != nil {
				s.fail(w, r, err)
				return
			}
			h(w, r)
		})
	}
}
