package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"

	"github.com/limpet-dev/limpet/fsm"
)

// maxVerified bounds the cache of verified tokens, which is by their text: to hash
// them with every call took two fifths of the check. A cluster has few tokens
// and many calls with each.
const maxVerified = 4096

// Verifier checks tokens against the keys and tenants in the state.
type Verifier struct {
	view func() fsm.View
	now  func() time.Time

	mu       sync.Mutex
	verified map[string]*Claims // by token
	order    []string           // of entry, oldest first
}

// NewVerifier makes a verifier. The clock is the wall clock that expiry is
// compared with.
func NewVerifier(view func() fsm.View, now func() time.Time) *Verifier {
	return &Verifier{view: view, now: now, verified: map[string]*Claims{}}
}

// Incoming verifies the token in the metadata of a gRPC call. Errors are of
// type [*Error].
func (v *Verifier) Incoming(ctx context.Context) (*Claims, error) {
	return v.header(metadata.ValueFromIncomingContext(ctx, "authorization"))
}

// Request verifies the token in the Authorization header of an HTTP request.
// Errors are of type [*Error].
func (v *Verifier) Request(r *http.Request) (*Claims, error) {
	return v.header(r.Header.Values("Authorization"))
}

func (v *Verifier) header(values []string) (*Claims, error) {
	if len(values) == 0 || strings.TrimSpace(values[0]) == "" {
		return nil, refused("missing token: send it as `authorization: Bearer <token>`; `limpet token create` makes one")
	}
	scheme, token, ok := strings.Cut(strings.TrimSpace(values[0]), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return nil, refused("malformed authorization: want `Bearer <token>`")
	}
	return v.Verify(strings.TrimSpace(token))
}

// Verify checks one token. What it has verified once it remembers until the
// token expires, its key is retired or its tenant goes.
func (v *Verifier) Verify(token string) (*Claims, error) {
	view, now := v.view(), v.now()
	v.mu.Lock()
	c := v.verified[token]
	v.mu.Unlock()
	known := c != nil
	if !known {
		if len(view.Keys()) == 0 {
			return nil, &Error{Kind: NotReady, Text: "this node knows no tokens yet: it has not joined a formed cluster, or was restarted and has not caught up; ask another node, or try again"}
		}
		var err error
		if c, err = parse(view, now, token); err != nil {
			return nil, err
		}
	}
	if err := stillHolds(view, now, c); err != nil {
		return nil, err
	}
	if !known {
		v.remember(token, c)
	}
	return c, nil
}

func (v *Verifier) remember(token string, c *Claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.verified[token] != nil {
		return
	}
	if len(v.order) >= maxVerified {
		delete(v.verified, v.order[0])
		v.order = v.order[1:]
	}
	v.verified[token] = c
	v.order = append(v.order, token)
}

// stillHolds checks what may change in the life of a token.
func stillHolds(view fsm.View, now time.Time, c *Claims) error {
	if !now.Before(c.Expires) {
		return refused("token %s expired at %s, %s ago: create a new one with `limpet token create`",
			c.TokenID, c.Expires.UTC().Format(time.RFC3339), now.Sub(c.Expires).Round(time.Second))
	}
	if _, ok := view.Key(c.KeyID); !ok {
		return unknownKey(c.KeyID)
	}
	if _, ok := view.Tenant(c.Tenant); !ok {
		return refused("token %s is for tenant %q, which does not exist in this cluster", c.TokenID, c.Tenant)
	}
	return nil
}

func parse(view fsm.View, now time.Time, token string) (*Claims, error) {
	var w wireClaims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}),
		jwt.WithTimeFunc(func() time.Time { return now }),
		jwt.WithIssuer(Issuer),
		jwt.WithExpirationRequired(),
	)
	kid := ""
	_, err := parser.ParseWithClaims(token, &w, func(t *jwt.Token) (any, error) {
		kid, _ = t.Header["kid"].(string)
		k, ok := view.Key(kid)
		if !ok {
			return nil, unknownKey(kid)
		}
		key, err := parseKey(k)
		if err != nil {
			return nil, err
		}
		return &key.PublicKey, nil
	})
	// That it has expired is said with the time, by stillHolds.
	if err != nil && !onlyExpired(err) {
		return nil, explain(token, err)
	}
	c := &Claims{
		Tenant: fsm.TenantID(w.Subject), Role: w.Role, TokenID: w.TokenID, KeyID: kid,
		ServerURL: w.ServerURL, GRPCAddress: w.GRPCAddress,
	}
	if w.ExpiresAt == nil {
		return nil, refused("malformed token: no claim exp")
	}
	c.Expires = w.ExpiresAt.Time
	if w.IssuedAt != nil {
		c.Issued = w.IssuedAt.Time
	}
	if c.Role != RoleSDK && c.Role != RoleAdmin {
		return nil, refused("malformed token: limpet_role %q: must be %q or %q", c.Role, RoleSDK, RoleAdmin)
	}
	return c, nil
}

// onlyExpired: the parser checks claims after the signature and joins what it
// finds wrong with them.
func onlyExpired(err error) bool {
	return errors.Is(err, jwt.ErrTokenExpired) &&
		!errors.Is(err, jwt.ErrTokenInvalidIssuer) && !errors.Is(err, jwt.ErrTokenRequiredClaimMissing)
}

func explain(token string, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	detail := strings.TrimPrefix(err.Error(), "token is malformed: ")
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		if n := strings.Count(token, ".") + 1; n != 3 {
			return refused("malformed token: %d parts where a JWT has three, divided by dots: was it cut when it was copied?", n)
		}
		return refused("malformed token: %s", detail)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		if strings.Contains(detail, "signing method") {
			return refused("malformed token: its alg must be ES256")
		}
		return refused("bad signature: the token was changed, or signed by another key than it names")
	default:
		return refused("token not accepted: %s", detail)
	}
}

func unknownKey(kid string) error {
	return refused("unknown key %q: the token was issued by another cluster, or its key was retired; create a new one with `limpet token create`", kid)
}

func refused(format string, args ...any) error {
	return &Error{Kind: Unauthenticated, Text: fmt.Sprintf(format, args...)}
}
