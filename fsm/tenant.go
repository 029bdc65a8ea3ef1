package fsm

// Tenant is a namespace of workflows, workers and runs; every token belongs to
// one.
type Tenant struct {
	ID          TenantID
	Name        string
	CreatedWall int64
}

func (t *Tenant) fields(c *codec) {
	str(c, 1, &t.ID)
	str(c, 2, &t.Name)
	num(c, 3, &t.CreatedWall)
}

// Key signs and verifies API tokens. Keys are replicated so that any node can
// verify a token and issue one.
type Key struct {
	ID          string
	PKCS8       []byte // ECDSA P-256 private key, DER
	CreatedWall int64
}

func (k *Key) fields(c *codec) {
	str(c, 1, &k.ID)
	raw(c, 2, &k.PKCS8)
	num(c, 3, &k.CreatedWall)
}
