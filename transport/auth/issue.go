package auth

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/limpet-dev/limpet/fsm"
)

// Grant is a wish for a token.
type Grant struct {
	Tenant fsm.TenantID
	Role   Role
	// ServerURL is the base URL of the HTTP API as SDKs reach it.
	ServerURL string
	// GRPCAddress is host:port of the gRPC API as SDKs reach it; best a name
	// that resolves to all nodes.
	GRPCAddress string
	Issued      time.Time
	// TTL is the life of the token.
	TTL time.Duration
}

// wireClaims are the claims as they stand in the token. The names of the first
// two are the SDKs'; some read them instead of any other configuration.
type wireClaims struct {
	ServerURL   string `json:"server_url"`
	GRPCAddress string `json:"grpc_broadcast_address"`
	TokenID     string `json:"token_id"`
	Role        Role   `json:"limpet_role"`
	jwt.RegisteredClaims
}

// Issue signs a token with the newest key of the cluster.
func Issue(v fsm.View, g Grant) (string, error) {
	if _, ok := v.Tenant(g.Tenant); !ok {
		return "", fmt.Errorf("issue a token: tenant %q does not exist", g.Tenant)
	}
	if g.Role != RoleSDK && g.Role != RoleAdmin {
		return "", fmt.Errorf("issue a token: role %q: must be %q or %q", g.Role, RoleSDK, RoleAdmin)
	}
	if g.TTL <= 0 {
		return "", fmt.Errorf("issue a token: ttl %q: must be more than zero", g.TTL)
	}
	keys := v.Keys()
	if len(keys) == 0 {
		return "", &Error{Kind: NotReady, Text: "issue a token: the cluster has no signing key yet; wait until it is formed"}
	}
	newest := keys[len(keys)-1]
	key, err := parseKey(newest)
	if err != nil {
		return "", fmt.Errorf("issue a token: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("issue a token: make its id: %w", err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, &wireClaims{
		ServerURL: g.ServerURL, GRPCAddress: g.GRPCAddress, TokenID: id.String(), Role: g.Role,
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    Issuer,
			Subject:   string(g.Tenant),
			Audience:  jwt.ClaimStrings{g.ServerURL},
			IssuedAt:  jwt.NewNumericDate(g.Issued),
			ExpiresAt: jwt.NewNumericDate(g.Issued.Add(g.TTL)),
		},
	})
	token.Header["kid"] = newest.ID
	text, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign a token with key %q: %w", newest.ID, err)
	}
	return text, nil
}
