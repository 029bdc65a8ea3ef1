// Package auth issues and verifies the API tokens of SDKs and operators.
//
// A token is a JWT, signed with ES256 by a key that the cluster replicates: any
// node can issue one and any node can verify it. The SDKs read three of its
// claims themselves (the tenant, the HTTP address and the gRPC address), so one
// token is all the configuration that a worker needs.
package auth

import (
	"context"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// Issuer is the `iss` claim of every token.
const Issuer = "limpet"

// Role says what a token may be used for.
type Role string

// The roles.
const (
	// RoleSDK may register workers and workflows, run and read.
	RoleSDK Role = "sdk"
	// RoleAdmin may do all that RoleSDK may, and operate the cluster.
	RoleAdmin Role = "admin"
)

// Claims is what a verified token says.
type Claims struct {
	Tenant      fsm.TenantID
	Role        Role
	TokenID     string
	ServerURL   string // where the HTTP API is, for SDKs
	GRPCAddress string // host:port of the gRPC API, for SDKs
	KeyID       string // the key that signed it
	Issued      time.Time
	Expires     time.Time
}

// Require checks that the token may be used for calls that need the role. The
// error is an [Error] of kind [Forbidden].
func (c *Claims) Require(role Role) error {
	if role != RoleAdmin || c.Role == RoleAdmin {
		return nil
	}
	return &Error{
		Kind: Forbidden,
		Text: "this token has the role " + string(c.Role) + " and the call needs " + string(role) +
			": create one with `limpet token create --role " + string(role) + "`",
	}
}

// Kind groups the errors of this package by what a server answers.
type Kind uint8

// The kinds.
const (
	// Unauthenticated: no token, or one that does not hold (gRPC 16, HTTP 401).
	Unauthenticated Kind = iota
	// Forbidden: the token holds but has not the role (gRPC 7, HTTP 403).
	Forbidden
	// NotReady: this node cannot tell yet, because it has not joined a formed
	// cluster (gRPC 14, HTTP 503).
	NotReady
)

// Error is why a call is not let in, in one sentence for its caller.
type Error struct {
	Kind Kind
	Text string
}

// Error gives the sentence.
func (e *Error) Error() string { return e.Text }

type claimsKey struct{}

// WithClaims gives a context that carries verified claims.
func WithClaims(ctx context.Context, c *Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, c)
}

// FromContext gives the claims that an interceptor or a middleware has
// verified; false when the call came without a token.
func FromContext(ctx context.Context) (*Claims, bool) {
	c, ok := ctx.Value(claimsKey{}).(*Claims)
	return c, ok
}
