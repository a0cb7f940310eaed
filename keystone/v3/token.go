package v3

import "context"

// Login logs in with cfg.Credential and returns the new token. The caller can send this token to another service. Login caches no
// token, so every call logs in again.
func Login(ctx context.Context, cfg Config) (token string, err error) {
	c, err := New(cfg)
	if err != nil {
		return "", err
	}
	token, _, err = c.login(cfg.Credential)(ctx)
	return token, err
}
