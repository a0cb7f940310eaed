package main

import (
	"context"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// The function `compose` loads a Compose file as `docker compose` does. The file must conform to the JSON schema of the Compose
// specification.
func compose(ctx context.Context, path string, values []string) (any, error) {
	env := types.Mapping{}
	for _, value := range values {
		name, text, _ := strings.Cut(value, "=")
		env[name] = text
	}
	return loader.LoadWithContext(ctx, types.ConfigDetails{
		ConfigFiles: []types.ConfigFile{{Filename: path}}, Environment: env,
	}, func(o *loader.Options) { o.SetProjectName("tenantry", true) })
}
