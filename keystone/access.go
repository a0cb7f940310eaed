package keystone

import "context"

// Cloud is a client of one cloud's Keystone, called with one credential.
type Cloud interface {
	Identity
	Inventory
	Self

	// Access logs in, and returns the new token with its scope and its catalog. Every call logs in again, so that the token does not
	// expire while the caller uses it. Access returns the same errors as the methods of [Identity]. Access also returns an error if the
	// catalog contains no service.
	Access(ctx context.Context) (Access, error)

	// Login logs in with the credential of a person, and returns the new token. The caller can send this token to another service. Login
	// caches no token, so every call logs in again. If Keystone refuses the credential, the error is Permanent with [ErrLoginRefused]. If
	// the new token has no scope, the error is [ErrUnscoped].
	Login(ctx context.Context) (token string, err error)
}

// Access contains the token and the catalog that a client of a cloud's other services needs.
type Access struct {
	Token     string // a secret
	ProjectID string // the scope of the token; empty if the scope is not a project
	Catalog   []CatalogService
}

// CatalogService is a service in Keystone's catalog.
type CatalogService struct {
	Type      string            `json:"type"`
	Endpoints []CatalogEndpoint `json:"endpoints"`
}

// CatalogEndpoint is an address of a service. Keystone omits endpoints that are disabled.
type CatalogEndpoint struct {
	Interface string `json:"interface"` // "public", "internal" or "admin"
	RegionID  string `json:"region_id"`
	Region    string `json:"region"` // equal to RegionID if Keystone sends both
	URL       string `json:"url"`
}
