package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
)

const (
	tenantID  = "0190d3a4-0000-7000-8000-000000000001"
	clusterID = "0190d3a4-0000-7000-8000-000000000002"
)

var issued = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func formed(t *testing.T) (fsm.View, string, []byte) {
	t.Helper()
	id, key, err := auth.NewBootstrapKey()
	if err != nil {
		t.Fatal(err)
	}
	m := fsm.NewMachine()
	m.Apply(&fsm.Entry{Commands: []fsm.Command{{RequestId: []byte("request-00000001"), Kind: &limpetv1.Command_Bootstrap{
		Bootstrap: &limpetv1.Bootstrap{TenantId: tenantID, TenantName: "default", ClusterId: clusterID, KeyId: id, Key: key},
	}}}})
	return m.View(), id, key
}

func grant() auth.Grant {
	return auth.Grant{
		Tenant: tenantID, Role: auth.RoleSDK, ServerURL: "http://limpet:8888", GRPCAddress: "limpet:7077",
		Issued: issued, TTL: time.Hour,
	}
}

func issue(t *testing.T, v fsm.View, g auth.Grant) string {
	t.Helper()
	token, err := auth.Issue(v, g)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func verifier(v fsm.View, now time.Time) *auth.Verifier {
	return auth.NewVerifier(func() fsm.View { return v }, func() time.Time { return now })
}

func TestATokenIsVerifiedByAnyNode(t *testing.T) {
	view, keyID, _ := formed(t)
	token := issue(t, view, grant())
	v := verifier(view, issued.Add(time.Minute))
	for range 2 { // the second comes from the cache
		c, err := v.Verify(token)
		if err != nil {
			t.Fatal(err)
		}
		if c.Tenant != tenantID || c.Role != auth.RoleSDK || c.KeyID != keyID || c.TokenID == "" ||
			c.ServerURL != "http://limpet:8888" || c.GRPCAddress != "limpet:7077" || !c.Expires.Equal(issued.Add(time.Hour)) {
			t.Errorf("claims are %+v", c)
		}
	}
}

func TestTheSDKsFindTheirClaims(t *testing.T) {
	view, keyID, _ := formed(t)
	claims := jwt.MapClaims{}
	token, _, err := jwt.NewParser().ParseUnverified(issue(t, view, grant()), claims)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"sub": tenantID, "server_url": "http://limpet:8888", "grpc_broadcast_address": "limpet:7077", "iss": "limpet",
		"limpet_role": "sdk", "exp": float64(issued.Add(time.Hour).Unix()), "iat": float64(issued.Unix()),
	} {
		if claims[name] != want {
			t.Errorf("claim %s is %v (%T), want %v", name, claims[name], claims[name], want)
		}
	}
	if token.Header["kid"] != keyID || token.Header["alg"] != "ES256" {
		t.Errorf("header is %v", token.Header)
	}
}

// sign makes a token that Issue would not.
func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = kid
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestATokenThatDoesNotHoldIsRefusedWithTheReason(t *testing.T) {
	view, keyID, der := formed(t)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := jwt.MapClaims{"iss": "limpet", "sub": tenantID, "limpet_role": "sdk", "exp": issued.Add(time.Hour).Unix()}
	with := func(name string, value any) jwt.MapClaims {
		c := jwt.MapClaims{}
		maps.Copy(c, good)
		c[name] = value
		if value == nil {
			delete(c, name)
		}
		return c
	}
	es := jwt.SigningMethodES256
	token := issue(t, view, grant())
	for _, c := range []struct {
		name, token, want string
	}{
		{"two parts", "a.b", "malformed token: 2 parts"},
		{"not base64", "a.!.c", "malformed token"},
		{"cut", token[:len(token)/2], "malformed token"},
		{"another signature", sign(t, es, stranger, keyID, good), "bad signature"},
		{"another cluster", sign(t, es, stranger, "0190d3a4-0000-7000-8000-00000000000f", good), "unknown key"},
		{"no key", sign(t, es, parsed, "", good), "unknown key"},
		{"another algorithm", sign(t, jwt.SigningMethodHS256, []byte("secret"), keyID, good), "alg must be ES256"},
		{"no algorithm", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, keyID, good), "alg must be ES256"},
		{"expired", sign(t, es, parsed, keyID, with("exp", issued.Add(-time.Hour).Unix())), "expired at 2030-01-02T02:04:05Z, 1h0m0s ago"},
		{"no expiry", sign(t, es, parsed, keyID, with("exp", nil)), "exp"},
		{"another issuer", sign(t, es, parsed, keyID, with("iss", "x")), "iss"},
		{"another role", sign(t, es, parsed, keyID, with("limpet_role", "root")), `limpet_role "root"`},
		{"unknown tenant", sign(t, es, parsed, keyID, with("sub", "0190d3a4-0000-7000-8000-00000000000e")), "does not exist in this cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := verifier(view, issued).Verify(c.token)
			var e *auth.Error
			if !errors.As(err, &e) || e.Kind != auth.Unauthenticated || !strings.Contains(e.Text, c.want) {
				t.Errorf("refused with %v, want %q", err, c.want)
			}
		})
	}
	if _, err := verifier(view, issued).Verify(sign(t, es, parsed, keyID, good)); err != nil {
		t.Errorf("a sound token is refused: %v", err)
	}
}

func TestACachedTokenExpires(t *testing.T) {
	view, _, _ := formed(t)
	now := issued
	v := auth.NewVerifier(func() fsm.View { return view }, func() time.Time { return now })
	token := issue(t, view, grant())
	if _, err := v.Verify(token); err != nil {
		t.Fatal(err)
	}
	now = issued.Add(time.Hour)
	if _, err := v.Verify(token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end the token gives %v", err)
	}
}

func TestANodeOutsideAClusterCannotTell(t *testing.T) {
	view, _, _ := formed(t)
	_, err := verifier(fsm.NewMachine().View(), issued).Verify(issue(t, view, grant()))
	var e *auth.Error
	if !errors.As(err, &e) || e.Kind != auth.NotReady {
		t.Errorf("refused with %v, want NotReady", err)
	}
}

func TestTheHeaderOfACallIsRead(t *testing.T) {
	view, _, _ := formed(t)
	token := issue(t, view, grant())
	v := verifier(view, issued)
	for _, c := range []struct {
		name   string
		header []string
		want   string // "" when it is let in
	}{
		{"Bearer", []string{"Bearer " + token}, ""},
		{"bearer", []string{"bearer " + token}, ""},
		{"none", nil, "missing token"},
		{"empty", []string{""}, "missing token"},
		{"no scheme", []string{token}, "malformed authorization"},
		{"another scheme", []string{"Basic " + token}, "malformed authorization"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := metadata.NewIncomingContext(context.Background(), metadata.MD{"authorization": c.header})
			_, fromCall := v.Incoming(ctx)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"] = c.header
			_, fromRequest := v.Request(r)
			for _, err := range []error{fromCall, fromRequest} {
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("gives %v, want %q", err, c.want)
				}
			}
		})
	}
}

func TestRolesAreRequired(t *testing.T) {
	for _, c := range []struct {
		has, needs auth.Role
		ok         bool
	}{
		{auth.RoleSDK, auth.RoleSDK, true},
		{auth.RoleAdmin, auth.RoleSDK, true},
		{auth.RoleAdmin, auth.RoleAdmin, true},
		{auth.RoleSDK, auth.RoleAdmin, false},
	} {
		err := (&auth.Claims{Role: c.has}).Require(c.needs)
		var e *auth.Error
		if c.ok && err != nil || !c.ok && (!errors.As(err, &e) || e.Kind != auth.Forbidden) {
			t.Errorf("%s for %s gives %v", c.has, c.needs, err)
		}
	}
}

func TestIssueRefusesWhatCannotHold(t *testing.T) {
	view, _, _ := formed(t)
	for _, c := range []struct {
		name   string
		change func(*auth.Grant)
		want   string
	}{
		{"tenant", func(g *auth.Grant) { g.Tenant = "x" }, `tenant "x" does not exist`},
		{"role", func(g *auth.Grant) { g.Role = "x" }, `role "x"`},
		{"ttl", func(g *auth.Grant) { g.TTL = 0 }, "ttl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := grant()
			c.change(&g)
			if _, err := auth.Issue(view, g); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gives %v, want %q", err, c.want)
			}
		})
	}
}
