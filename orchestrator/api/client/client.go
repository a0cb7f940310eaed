// Package client is the Go client of the HTTP API, generated from its OpenAPI document.
package client

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-client.yaml ../openapi.yaml
