package intake

import (
	"encoding/json"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/orchestrator/usage/ceilometer"
)

// The function `describe` returns a sample as JSON, with Ceilometer's names.
func describe(s usage.Sample) string {
	text, err := json.Marshal(map[string]string{
		"id": s.ID, "source": s.Source, "project_id": s.Project, "resource_id": s.Resource, "name": s.Meter, "type": string(s.Kind), "unit": s.Unit,
		"volume": s.Volume.String(), "timestamp": s.At.Format(time.RFC3339Nano),
	})
	if err != nil {
		return ""
	}
	return ceilometer.Excerpt(text)
}
