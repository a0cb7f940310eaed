package v3

import "context"

// Login logs in with cfg.Credential and returns the new token, for use with another service. Login caches no token, so every call
// logs in again.
func Login(ctx context.Context, cfg Config) (token string, err error) {
	c, err := New(cfg)
	if err != nil {
		return "", err
	}
	token, _, err = c.login(cfg.Credential)(ctx)
	return token, err
}
