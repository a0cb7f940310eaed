package store_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
)

func TestTheCloudsThatSendSamples(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		check := func(what string, limit int, want ...usage.CloudState) {
			t.Helper()
			got, err := s.Usage().Clouds(t.Context(), limit)
			must(t, err)
			same(t, what, got, append([]usage.CloudState{}, want...))
		}
		check("nothing", 10)
		west, _, err := usage.NewKey(rand.Reader, "west", noon)
		must(t, err)
		gone, _, err := usage.NewKey(rand.Reader, "gone", noon)
		must(t, err)
		must(t, s.Usage().CreateMeterKey(t.Context(), west))
		must(t, s.Usage().CreateMeterKey(t.Context(), gone))
		_, err = s.Usage().RevokeMeterKey(t.Context(), gone.Key, noon)
		must(t, err)
		check("keys", 10, usage.CloudState{Cloud: "west"})
		for _, after := range []time.Duration{time.Minute, 2 * time.Minute, 0} {
			must(t, s.Usage().Received(t.Context(), "default", noon.Add(after)))
		}
		shown := usage.CloudState{Cloud: "default", Received: noon.Add(2 * time.Minute)}
		check("times", 10, shown, usage.CloudState{Cloud: "west"})
		check("the limit", 1, shown)

		tenants(t, s, "default", "p", "q")
		tenants(t, s, "west", "p")
		add(t, s,
			sample("q", "1", point(usage.Delta, 0, 1)), sample("p", "2", point(usage.Delta, time.Hour, 1)),
			sample("p", "3", point(usage.Delta, 5*time.Hour, 1), func(s *usage.Sample) { s.Cloud = "west" }))
		shown.Oldest = noon
		inWest := usage.CloudState{Cloud: "west", Oldest: noon.Add(5 * time.Hour)}
		check("due hours", 10, shown, inWest)
		due, _ := take(t, s, noon.Add(2*time.Hour), 1)
		check("an hour that is being computed", 10, shown, inWest)
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], usage.Finished{AgainAt: noon.Add(time.Hour)}))
		shown.Oldest = noon.Add(time.Hour)
		check("an hour that has a usage, although it waits for a run", 10, shown, inWest)
	})
}
