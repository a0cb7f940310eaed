package servicetest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Meter sends samples of a project as Ceilometer does.
type Meter struct {
	in      *Installation
	key     usage.MeterKey
	secret  string
	project string
}

// Meter returns a Meter with a meter key of its own.
func (in *Installation) Meter(t testing.TB, project string) Meter {
	t.Helper()
	key, secret, err := usage.NewKey(rand.Reader, merchants.DefaultCloud, time.Now())
	must(t, err)
	must(t, in.Store.Usage().CreateMeterKey(t.Context(), key))
	return Meter{in, key, secret, project}
}

// Sample is a sample of a counter.
type Sample struct {
	Meter, Unit string
	At          time.Time
	Volume      int
}

// Post sends samples of one resource.
func (m Meter) Post(t testing.TB, samples ...Sample) {
	t.Helper()
	var all []map[string]any
	for _, s := range samples {
		all = append(all, map[string]any{
			"name": s.Meter, "type": "cumulative", "unit": s.Unit, "volume": s.Volume, "project_id": m.project, "resource_id": "vm",
			"timestamp": s.At.UTC().Format("2006-01-02T15:04:05.000000"), "source": "openstack", "id": uuid.NewString(),
		})
	}
	text, err := json.Marshal(all)
	must(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.in.URL+"/v1/usage/ceilometer", strings.NewReader(string(text)))
	must(t, err)
	r.SetBasicAuth(m.key.Key, m.secret)
	r.Header.Set("Content-Type", "application/json")
	resp, err := m.in.Client.Do(r)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("a post of samples: %d", resp.StatusCode)
	}
}
