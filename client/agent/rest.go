package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/limpet-dev/limpet/client/internal/member"
)

// restServer passes HTTP on to the nodes: some SDKs use it beside gRPC.
func restServer(m *member.Member, log *slog.Logger) *http.Server {
	return &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", "a-node" // the transport chooses
			},
			Transport: &anyNode{member: m, next: http.DefaultTransport},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				log.Debug("pass an HTTP request on", "error", err)
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintf(w, "{\"errors\":[{\"description\":%q}]}\n", err.Error())
			},
		},
	}
}

// anyNode sends a request to the first node that can be reached.
type anyNode struct {
	member *member.Member
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a *anyNode) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, maxMessage)); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
	}
	err := errors.New("no node has said yet where its HTTP is")
	for _, living := range []bool{true, false} {
		for _, n := range a.member.Nodes() {
			if n.GetHttp() == "" || n.GetAlive() != living {
				continue
			}
			try := r.Clone(r.Context())
			try.URL.Host, try.Host = n.GetHttp(), n.GetHttp()
			try.Body = io.NopCloser(bytes.NewReader(body))
			var res *http.Response
			if res, err = a.next.RoundTrip(try); err == nil {
				return res, nil
			}
			// A POST that a node may have taken is not made again.
			if dial, ok := errors.AsType[*net.OpError](err); r.Context().Err() != nil || r.Method == http.MethodPost && (!ok || dial.Op != "dial") {
				return nil, err
			}
		}
	}
	return nil, err
}
