package conn

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Login logs in with the credential of a person, and returns the new token. The caller can send this token to another service.
// Login caches no token, so every call logs in again. If Keystone refuses the credential, the error is Permanent with
// [keystone.ErrLoginRefused]. If the new token has no scope, the error is [keystone.ErrUnscoped].
func (c *Conn) Login(ctx context.Context) (token string, err error) {
	if token, _, err = c.login(ctx); err != nil {
		return "", ofPerson(c.credential, err)
	}
	return token, nil
}

// ofPerson returns the error of a login with a person's credential. In this error, OwnCredential is false, and the text may contain the
// name of the person.
func ofPerson(c Credential, err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	refused := *e
	refused.Op = "logging in as " + c.String()
	if !e.OwnCredential {
		return &refused
	}
	refused.OwnCredential, refused.Class = false, upstream.Permanent
	if e.Status == http.StatusUnauthorized {
		variables := "OS_USERNAME, OS_USER_DOMAIN_NAME and OS_PASSWORD, and the project"
		if c.ApplicationCredentialID+c.ApplicationCredentialName != "" {
			variables = "the OS_APPLICATION_CREDENTIAL_* variables"
		}
		refused.Err = fmt.Errorf("%w: check %s", keystone.ErrLoginRefused, variables)
	}
	return &refused
}
