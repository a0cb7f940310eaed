package api_test

import (
	"encoding/json"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestTheSchemaOfAnOrderAllowsOneKindOfCustomer(t *testing.T) {
	schema := newWorld(t).document.schema(t, "SubscribeRequest")
	const id = "9b351268-22c6-4cf9-922f-7a5db1c1a27b"
	for fields, fits := range map[string]bool{
		``:                              false,
		`, "customer_id": "` + id + `"`: true,
		`, "customer": {"name": "Ada"}`: true,
		`, "customer": {"name": "Ada"}, "customer_id": "` + id + `"`: false,
	} {
		var value any
		must(t, json.Unmarshal([]byte(`{"plan_id": "`+id+`"`+fields+`}`), &value))
		if err := schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); (err == nil) != fits {
			t.Errorf("%s: got %v, want it to fit: %t", fields, err, fits)
		}
	}
}
