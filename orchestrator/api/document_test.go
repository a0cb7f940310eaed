package api

import "testing"

// TestTheDocumentIsValid validates the OpenAPI document, with its examples. The service does not validate it when it starts.
func TestTheDocumentIsValid(t *testing.T) {
	if err := must(parsed()).Validate(t.Context()); err != nil {
		t.Error(err)
	}
}
