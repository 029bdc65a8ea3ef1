package rest

import (
	"fmt"
	"net/http"
	"strings"
)

// live answers as long as the process does.
func (s *server) live(w http.ResponseWriter, _ *http.Request) {
	s.writeText(w, http.StatusOK, "ok\n")
}

// ready answers 200 while the node can serve. With ?leader it does so on the
// leader only; with ?verbose it lists what it looked at.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var report strings.Builder
	fault := ""
	check := func(name, wrong string) {
		if wrong == "" {
			fmt.Fprintf(&report, "[+] %s ok\n", name)
			return
		}
		fmt.Fprintf(&report, "[-] %s: %s\n", name, wrong)
		if fault == "" {
			fault = wrong
		}
	}
	ok, reason := s.Ready()
	if !ok && reason == "" {
		reason = "the node gave no reason"
	}
	if ok {
		reason = ""
	}
	check("ready", reason)
	if query.Has("leader") {
		check("leader", s.notLeader(r))
	}
	status, text := http.StatusOK, "ok\n"
	if fault != "" {
		status, text = http.StatusServiceUnavailable, "not ready: "+fault+"\n"
	}
	if query.Has("verbose") {
		fmt.Fprintf(&report, "node %s\nversion %s\nseq %d\n", s.Backend.Name(), s.Version, s.Backend.View().Seq())
		text = report.String() + text
	}
	s.writeText(w, status, text)
}

// notLeader says why this node does not count as the leader; "" if it does.
func (s *server) notLeader(r *http.Request) string {
	status, err := s.status.get(r.Context())
	switch {
	case err != nil:
		return "cannot tell who leads: " + err.Error()
	case status.Leader == "":
		return "there is no leader"
	case status.Leader != s.Backend.Name():
		return fmt.Sprintf("the leader is %s, this is %s", status.Leader, s.Backend.Name())
	default:
		return ""
	}
}
