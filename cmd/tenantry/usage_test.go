package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func TestMeterKeyLife(t *testing.T) {
	env := newDatabase(t)
	code, out, stderr := line(t, env, "meter-key", "create", "--cloud", "west", "-f", "json")
	var created meterKeyView
	if err := json.Unmarshal([]byte(out), &created); err != nil || code != 0 || created.Cloud != "west" || !strings.HasPrefix(created.Key, "tm_") ||
		!strings.HasPrefix(created.Secret, "ts_") {
		t.Fatalf("create: got %d, %s%s, %v", code, out, stderr, err)
	}
	if code, out, _ := line(t, env, "meter-key", "create"); code != 0 || !strings.Contains(out, "default") || !strings.Contains(out, "ts_") {
		t.Errorf("create without a cloud: got %d, %s", code, out)
	}
	if code, out, _ := line(t, env, "meter-key", "list"); code != 0 || strings.Count(out, "\n") != 3 || strings.Contains(out, created.Secret) {
		t.Errorf("list: got %d\n%s", code, out)
	}
	for range 2 {
		if code, out, _ := line(t, env, "meter-key", "revoke", created.Key, "-f", "json"); code != 0 || !strings.Contains(out, "revoked_at") {
			t.Errorf("revoke: got %d, %s", code, out)
		}
	}
	if code, _, stderr := line(t, env, "meter-key", "revoke", "tm_none"); code != exitRefused || !strings.Contains(stderr, "no such meter key") {
		t.Errorf("revoke an unknown key: got %d, %s", code, stderr)
	}
	if code, _, stderr := line(t, env, "meter-key", "create", "--cloud", ""); code != exitUsage || !strings.Contains(stderr, "--cloud") {
		t.Errorf("create with an empty cloud: got %d, %s", code, stderr)
	}
}

func TestUsageShow(t *testing.T) {
	h := newHouse(t)
	merchant := "--merchant=" + h.merchant.ID
	_, made, _ := h.subscribe(h.env, "-f", "json")
	var run client.Run
	h.ok(json.Unmarshal([]byte(made), &run))
	id := fmt.Sprint(run.Result["subscription_id"])
	for _, env := range [][]string{h.env, h.operator()} {
		code, out, stderr := line(t, env, "usage", "show", id, merchant)
		if code != 0 || out != "FROM  TO  METER  AMOUNT  UNIT  STATE  PLAN\n" {
			t.Errorf("got %d, %q%s", code, out, stderr)
		}
	}
	if code, out, _ := line(t, h.operator(), "usage", "show", id, merchant, "-f", "json"); code != 0 || strings.TrimSpace(out) != "{\n  \"rows\": [],\n  \"usage\": []\n}" {
		t.Errorf("as JSON: got %d, %q", code, out)
	}
	for what, args := range map[string][]string{
		"no merchant":    {id},
		"no time":        {id, merchant, "--from", "yesterday"},
		"no id":          {"x", merchant},
		"too few of all": {merchant},
	} {
		if code, _, stderr := line(t, h.operator(), append([]string{"usage", "show"}, args...)...); code != exitUsage {
			t.Errorf("%s: got %d, %s", what, code, stderr)
		}
	}
	code, _, stderr := line(t, h.operator(), "usage", "show", id, merchant, "--from", "2026-01-01T00:00:00Z", "--to", "2026-02-01T00:00:00Z")
	if code != exitRefused || !strings.Contains(stderr, "at most 7 days") {
		t.Errorf("a long range: got %d, %s", code, stderr)
	}
}

func TestUsageUnmatched(t *testing.T) {
	h := newHouse(t)
	merchant := "--merchant=" + h.merchant.ID
	for _, env := range [][]string{h.env, h.operator()} {
		code, out, stderr := line(t, env, "usage", "unmatched", merchant)
		if code != 0 || out != "REASON  METER  AMOUNT  UNIT  SUBSCRIPTION  PROJECT  CLOUD  FIRST HOUR  LAST HOUR\n" {
			t.Errorf("got %d, %q%s", code, out, stderr)
		}
	}
	if code, _, stderr := line(t, h.operator(), "usage", "unmatched"); code != exitUsage || !strings.Contains(stderr, "--merchant is required") {
		t.Errorf("without a merchant: got %d, %s", code, stderr)
	}
	if code, _, stderr := line(t, h.operator(), "usage", "unmatched", merchant, "--limit", "0"); code != exitRefused || !strings.Contains(stderr, "limit") {
		t.Errorf("with a limit of 0: got %d, %s", code, stderr)
	}
}
