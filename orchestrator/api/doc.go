// Package api is the HTTP API for orders, runs, actions and merchants. Types and routes are generated from openapi.yaml, and each
// request is checked against openapi.yaml.
package api

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-server.yaml openapi.yaml
