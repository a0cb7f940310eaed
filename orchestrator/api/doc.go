// Package api is the HTTP API for orders, runs, actions and merchants. openapi.yaml defines it: types and routes are generated from
// it, and requests are checked against it.
package api

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-server.yaml openapi.yaml
