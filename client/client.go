package limpet

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/limpet-dev/limpet/client/internal/nodes"
)

const maxMessage = 64 << 20

// Client is a connection to a cluster. All its methods may be called by any
// goroutine. It must be closed.
type Client struct {
	cfg     config
	nodes   *nodes.Set
	results *results
}

type config struct {
	token        string
	endpoints    []string
	tls          *tls.Config
	log          *slog.Logger
	dial         []grpc.DialOption
	interceptors []Interceptor
	propagator   Propagator
}

// Option is a setting of a [Client].
type Option func(*config)

// WithToken sets the API token. Default: LIMPET_TOKEN, else HATCHET_CLIENT_TOKEN.
func WithToken(token string) Option { return func(c *config) { c.token = token } }

// WithEndpoints names nodes, host:port each. One is enough; the others are learnt
// from it. Default: LIMPET_ADDR, else HATCHET_CLIENT_HOST_PORT, else the address
// in the token.
func WithEndpoints(addrs ...string) Option {
	return func(c *config) { c.endpoints = append(c.endpoints, addrs...) }
}

// WithTLS uses TLS. Default: as HATCHET_CLIENT_TLS_STRATEGY says (none or tls),
// else plain text.
func WithTLS(cfg *tls.Config) Option { return func(c *config) { c.tls = cfg } }

// WithLogger receives the SDK's own log. Default: nothing is logged.
func WithLogger(log *slog.Logger) Option { return func(c *config) { c.log = log } }

// WithDialOptions are added to those of every connection: stats handlers and
// interceptors for tracing, for instance.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(c *config) { c.dial = append(c.dial, opts...) }
}

// New makes a client. It does not connect yet. The error names the setting that
// is missing or cannot be used.
func New(opts ...Option) (*Client, error) {
	c := &Client{cfg: config{log: slog.New(slog.DiscardHandler)}}
	for _, o := range opts {
		o(&c.cfg)
	}
	if err := c.cfg.complete(); err != nil {
		return nil, err
	}
	var err error
	if c.nodes, err = nodes.New(c.cfg.endpoints, c.cfg.dialOptions()...); err != nil {
		return nil, fmt.Errorf("limpet: %w", err)
	}
	c.results = newResults(c)
	return c, nil
}

// Close ends the connections; what waits for results ends with an error.
func (c *Client) Close() error {
	c.results.close()
	c.nodes.Close()
	return nil
}

func (c *config) complete() error {
	c.token = first(c.token, os.Getenv("LIMPET_TOKEN"), os.Getenv("HATCHET_CLIENT_TOKEN"))
	if c.token == "" {
		return errors.New("limpet: no token: use WithToken, or set LIMPET_TOKEN; `limpet token create` makes one")
	}
	claims, err := readClaims(c.token)
	if err != nil {
		return err
	}
	if len(c.endpoints) == 0 {
		c.endpoints = nodes.Split(first(os.Getenv("LIMPET_ADDR"), os.Getenv("HATCHET_CLIENT_HOST_PORT"), claims.Address))
	}
	if len(c.endpoints) == 0 {
		return errors.New("limpet: no node is named: use WithEndpoints, or set LIMPET_ADDR")
	}
	switch s := os.Getenv("HATCHET_CLIENT_TLS_STRATEGY"); {
	case c.tls != nil, s == "", s == "none":
	case s == "tls":
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: os.Getenv("HATCHET_CLIENT_TLS_SERVER_NAME")}
	default:
		return fmt.Errorf("limpet: HATCHET_CLIENT_TLS_STRATEGY is %q: must be none or tls here; use WithTLS for certificates of your own", s)
	}
	return nil
}

func (c *config) dialOptions() []grpc.DialOption {
	const every, patience = 10 * time.Second, 5 * time.Second
	creds := insecure.NewCredentials()
	if c.tls != nil {
		creds = credentials.NewTLS(c.tls)
	}
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(bearer(c.token)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: every, Timeout: patience, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	}, slices.Clone(c.dial)...)
}

// bearer sends the token with every call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: a private
// network may go without.
func (bearer) RequireTransportSecurity() bool { return false }

type claims struct {
	Address string `json:"grpc_broadcast_address"`
}

// readClaims reads what a token says of its cluster. Whether it is valid is for
// the nodes to say.
func readClaims(token string) (claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("limpet: the token is not one of an API: it must have three parts with dots between them")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, fmt.Errorf("limpet: the token cannot be read: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("limpet: the token cannot be read: %w", err)
	}
	return c, nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
