package stories_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// A server says at its first start what the doctor would say, in at most three lines. At a later start, it says nothing.
func TestTheFirstStartSaysWhatTheDoctorWould(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*setUp)
		says  []string
	}{
		"right": {func(*setUp) {}, []string{"doctor: faults of the set-up: 0, warnings: "}},
		"wrong": {
			func(w *setUp) { w.env["TENANTRY_CUSTOMER_ROLES"] = "member,nosuch" },
			[]string{"doctor: faults of the set-up: 1, warnings: ", "doctor: roles: finding role \"nosuch\": not found", "doctor: run: openstack role create nosuch"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSetUp(t)
			c.spoil(w)
			first := w.serve()
			got := w.awaitLog(first, len(c.says))
			for i, want := range c.says {
				if i >= len(got) || !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want %q", got, c.says)
				}
			}
			w.stop(first)
			second := w.serve()
			if resp, err := http.Get("http://" + w.env["TENANTRY_LISTEN"] + "/readyz"); err == nil {
				_ = resp.Body.Close()
			}
			w.stop(second)
			if log, err := os.ReadFile(second.log); err != nil || strings.Contains(string(log), "doctor") {
				t.Errorf("the second start has said: %s", log)
			}
		})
	}
}
