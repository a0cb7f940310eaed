package stories_test

import (
	"strings"
	"testing"
)

// A server says at its first start what the doctor would say, in at most three lines.
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
			got := w.awaitLog(w.serve(), len(c.says))
			for i, want := range c.says {
				if i >= len(got) || !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want %q", got, c.says)
				}
			}
		})
	}
}
