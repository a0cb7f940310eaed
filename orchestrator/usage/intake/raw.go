package intake

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

// maxRaw is the maximum length of a sample that is kept apart, in bytes.
const maxRaw = 4 << 10

// The function `describe` returns a sample as JSON, with Ceilometer's names.
func describe(s usage.Sample) string {
	text, err := json.Marshal(map[string]string{
		"id": s.ID, "source": s.Source, "project_id": s.Project, "resource_id": s.Resource, "name": s.Meter, "type": string(s.Kind), "unit": s.Unit,
		"volume": s.Volume.String(), "timestamp": s.At.Format(time.RFC3339Nano),
	})
	if err != nil {
		return ""
	}
	return cut(text)
}

// The function `cut` returns at most maxRaw bytes of a text that may be no valid UTF-8 and may contain NUL, which the database cannot store.
func cut(body []byte) string {
	text := string(body[:min(len(body), maxRaw)])
	for !utf8.ValidString(text) && len(text) > maxRaw-utf8.UTFMax {
		text = text[:len(text)-1]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
