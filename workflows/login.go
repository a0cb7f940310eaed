package workflows

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// LogIn logs a user of the merchant in, and returns an unscoped token that Keystone accepts.
func (d Deps) LogIn(ctx context.Context, m merchants.Merchant, name, password string) (keystone.UserToken, error) {
	id, domain, err := d.signUpDomain(ctx, m)
	if err != nil {
		return keystone.UserToken{}, err
	}
	return logIn(ctx, id, domain.ID, name, password)
}

// logIn logs a user in, and returns an unscoped token that Keystone accepts.
//
// A token is invalid from the beginning if it is issued in the same second in which the user's password was set, because Keystone counts in
// whole seconds. In this case, logIn waits for a second, and logs in again.
func logIn(ctx context.Context, id keystone.Identity, domainID, name, password string) (keystone.UserToken, error) {
	for attempt := 1; ; attempt++ {
		t, err := id.LogIn(ctx, domainID, name, password)
		if err == nil {
			_, err = id.ValidateToken(ctx, t.ID)
		}
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, keystone.ErrTokenInvalid) || attempt == 3 {
			return keystone.UserToken{}, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return keystone.UserToken{}, context.Cause(ctx)
		}
	}
}
