package keystone

import (
	"context"
	"time"
)

// Self describes Tenantry's own credential to the operator who sets up the service. Its methods only read. Every error is an
// *[upstream.Error].
type Self interface {
	// Version returns the version of the Identity API that Keystone speaks, such as "v3.14". Version sends no credential.
	Version(ctx context.Context) (string, error)

	// Scopes logs in with the user and the password of the credential, but without its scope. It returns at most 20 of the projects that the
	// user can use as the scope. Keystone refuses a wrong password and a wrong scope with the same answer. If Scopes succeeds, the password is
	// right, and the scope was wrong. If Keystone refuses the login, the error wraps an [upstream.RefusedLoginError]. If Keystone accepts the
	// login, but refuses to list the projects, the result is empty. An application credential has a fixed scope, so Scopes must not be called
	// for it.
	Scopes(ctx context.Context) ([]Project, error)

	// Holder returns the user of the credential, with the scope and the roles of the token.
	Holder(ctx context.Context) (Holder, error)

	// EachPower calls take for each role assignment of the user, and for each role assignment of the user's groups. Like
	// [Inventory.EachAssignment], EachPower lists the assignments that Keystone stores, without the roles that follow from them. Identity v2.0
	// shows only the roles on the project of the credential.
	EachPower(ctx context.Context, h Holder, take func(Power)) error
}

// Holder is the user of a credential.
type Holder struct {
	Reach

	UserID       string
	UserName     string
	UserDomainID string

	// Application is the application credential with which the user has logged in, or nil.
	Application *ApplicationCredential
}

// ApplicationCredential describes an application credential, without its secret.
type ApplicationCredential struct {
	ID           string
	Name         string
	ExpiresAt    time.Time // zero if it does not expire
	Unrestricted bool      // it can create further application credentials
}

// Power is a role that a user has.
type Power struct {
	Granted
	System bool // the role is assigned on the system; ProjectID and DomainID are then empty
}
