package v3

import "context"

// Login gets a token for whoever cfg's credential stands for, so that he may show it to another service. Nothing is kept: a
// second call logs in again.
func Login(ctx context.Context, cfg Config) (token string, err error) {
	c, err := New(cfg)
	if err != nil {
		return "", err
	}
	token, _, err = c.login(cfg.Credential)(ctx)
	return token, err
}
