package conformance_test

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/keystone/keystonetest/conformance"
)

func inMemory(t *testing.T) conformance.Target {
	t.Helper()
	url, stop, err := keystonetest.New(keystonetest.Options{AdminPassword: "pw-admin"}).Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return conformance.Target{URL: url, Password: "pw-admin"}
}

func real(t *testing.T) conformance.Target {
	t.Helper()
	target := conformance.Target{
		URL: os.Getenv("TENANTRY_TEST_KEYSTONE_URL"), Password: os.Getenv("TENANTRY_TEST_KEYSTONE_PASSWORD"),
	}
	if cmp.Or(target.URL, target.Password) == "" {
		t.Fatal("run this test with `make test`, which starts Keystone")
	}
	t.Log("real: keystone")
	return target
}

func TestTheInMemoryKeystoneConforms(t *testing.T) { conformance.Conformance(t, inMemory(t)) }

func TestTheRealKeystoneConforms(t *testing.T) { conformance.Conformance(t, real(t)) }

func TestTheInMemoryKeystoneAnswersAsTheRealOneDoes(t *testing.T) {
	want := conformance.Wire(t, real(t))
	got := conformance.Wire(t, inMemory(t))
	for i := range max(len(got), len(want)) {
		line := func(lines []string) string { return strings.Join(lines[min(i, len(lines)):min(i+1, len(lines))], "") }
		if line(got) != line(want) {
			t.Errorf("in memory %s\n     real %s", line(got), line(want))
		}
	}
	if len(want) < 100 || slices.Contains(want, "") {
		t.Errorf("the real Keystone's answers have only %d lines", len(want))
	}
}
