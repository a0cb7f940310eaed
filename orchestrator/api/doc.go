// Package api is the HTTP API: the subscribe call, runs and what can be asked of them, merchants. openapi.yaml is the truth;
// the types and the routes are generated from it, and requests are checked against it.
package api

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-server.yaml openapi.yaml
