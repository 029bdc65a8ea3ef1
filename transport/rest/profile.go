package rest

import (
	"net/http"
	"net/http/pprof"
)

// profiles serves the runtime's profiles under /debug/pprof, to callers with a
// valid token: they tell how the program works, and a CPU profile costs some of
// what it measures.
func (s *server) profiles(mux *http.ServeMux) {
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline, "/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if _, err := s.Verifier.Request(r); err != nil {
				s.fail(w, r, err)
				return
			}
			h(w, r)
		})
	}
}
