package v3

import "context"

// Login returns a new token for the user of cfg's credential, to be used with another service. Nothing is cached: a second call
// logs in again.
func Login(ctx context.Context, cfg Config) (token string, err error) {
	c, err := New(cfg)
	if err != nil {
		return "", err
	}
	token, _, err = c.login(cfg.Credential)(ctx)
	return token, err
}
