package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/google/uuid"

	"github.com/limpet-dev/limpet/fsm"
)

// NewBootstrapKey makes a signing key for a new cluster: its id and the PKCS #8
// DER bytes of an ECDSA P-256 key, as the Bootstrap command carries them.
func NewBootstrapKey() (id string, pkcs8 []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, fmt.Errorf("make a token signing key: %w", err)
	}
	pkcs8, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", nil, fmt.Errorf("encode a token signing key: %w", err)
	}
	u, err := uuid.NewV7()
	if err != nil {
		return "", nil, fmt.Errorf("name a token signing key: %w", err)
	}
	return u.String(), pkcs8, nil
}

// parseKey reads a replicated key.
func parseKey(k *fsm.Key) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(k.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("signing key %q: %w", k.ID, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("signing key %q is a %T: want ECDSA P-256", k.ID, parsed)
	}
	return key, nil
}
