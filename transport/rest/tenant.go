package rest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport/auth"
)

// resourceMeta stands at the head of every resource.
type resourceMeta struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// meta makes the head of a resource; times are in Unix nanoseconds.
func meta(id string, created, updated int64) resourceMeta {
	return resourceMeta{id, time.Unix(0, created).UTC(), time.Unix(0, max(created, updated)).UTC()}
}

// pagination tells list clients that they have it all.
type pagination struct {
	Current int `json:"current_page"`
	Next    int `json:"next_page"`
	Pages   int `json:"num_pages"`
}

type tenantAnswer struct {
	Metadata resourceMeta `json:"metadata"`
	Name     string       `json:"name"`
	Slug     string       `json:"slug"`
	// Version is the protocol generation that SDKs ask for.
	Version string `json:"version"`
}

// sameTenant refuses a path that names another tenant than the token does.
func sameTenant(r *http.Request, own fsm.TenantID) error {
	named := strings.ToLower(r.PathValue("tenant"))
	if named == "" || named == string(own) {
		return nil
	}
	return &auth.Error{
		Kind: auth.Forbidden,
		Text: fmt.Sprintf("the path names tenant %q and the token is for tenant %q: use a token of that tenant", named, own),
	}
}

func (s *server) tenant(r *http.Request, tenant fsm.TenantID) (any, error) {
	t, ok, err := find(r.Context(), s, func(v fsm.View) (*fsm.Tenant, bool) { return v.Tenant(tenant) })
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refusal(fsm.CodeNotFound, "tenant", string(tenant), "no such tenant", "use a token of this cluster")
	}
	return tenantAnswer{
		Metadata: meta(string(t.ID), t.CreatedWall, t.CreatedWall), Name: t.Name, Slug: slug(t.Name), Version: "V1",
	}, nil
}

// slug gives a name as it may stand in a URL.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	return strings.Join(words, "-")
}
