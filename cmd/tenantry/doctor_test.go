package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/doctor"
)

// With Identity v2.0, the doctor checks what this version shows, and says what it does not show.
func TestTheDoctorWithIdentityV2(t *testing.T) {
	fake := keystonetest.New(keystonetest.Options{AdminPassword: "canary-password", Pike: true})
	fake.AddRole("member")
	public, _, stop, err := fake.StartBoth()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	keystoneEnv(t, public)
	t.Setenv("OS_IDENTITY_API_VERSION", "2.0")
	folder := filepath.Join(t.TempDir(), "not", "yet")
	env := []string{
		"HOME=" + t.TempDir(), "TENANTRY_DATABASE_URL=sqlite:" + filepath.Join(folder, "t.db"), "TENANTRY_USAGE_SPOOL=" + filepath.Join(folder, "spool"),
		"TENANTRY_LISTEN=127.0.0.1:0", "TENANTRY_BILLING_LISTEN=127.0.0.1:0", "TENANTRY_CUSTOMER_ROLES=member,bs-admin",
	}
	examined := func(wantCode int) map[string][]doctor.Line {
		t.Helper()
		code, out, stderr := line(t, env, "doctor", "-f", "json")
		var all []doctor.Line
		if err := json.Unmarshal([]byte(out), &all); err != nil || code != wantCode || strings.Contains(out, "canary") {
			t.Fatalf("got exit code %d, %v, %s%s", code, err, out, stderr)
		}
		by := map[string][]doctor.Line{}
		for _, l := range all {
			by[l.Check] = append(by[l.Check], l)
		}
		return by
	}
	if got := examined(exitFindings)["roles"]; len(got) != 1 || got[0].Status != doctor.Fail || got[0].Fix.Text != "openstack role create bs-admin" {
		t.Errorf("without the role: got %+v", got)
	}
	fake.AddRole("bs-admin")
	all := examined(0)
	for check, want := range map[string]doctor.Line{
		"keystone":    {Status: doctor.Warn, Text: "Identity v2.0: vulnerabilities in releases of Keystone with this version are no longer fixed"},
		"credentials": {Status: doctor.OK, Text: "Keystone accepts the login of user admin"},
		"scope":       {Status: doctor.OK, Text: "project admin ("},
		"permissions": {Status: doctor.OK, Text: "the user has the roles admin"},
		"roles":       {Status: doctor.OK, Text: "Keystone has all roles of users (2); Identity v2.0 does not show which roles they imply"},
	} {
		if got := all[check]; len(got) != 1 || got[0].Status != want.Status || !strings.HasPrefix(got[0].Text, want.Text) {
			t.Errorf("%s: got %+v, want %+v", check, got, want)
		}
	}
	if got := all["blast-radius"]; len(got) != 2 || got[0].Status != doctor.Warn || got[1].Status != doctor.Skipped {
		t.Errorf("blast-radius: got %+v", got)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the doctor has created a file in %s: %v", folder, err)
	}
	t.Setenv("OS_PASSWORD", "canary-wrong")
	if got := examined(exitFindings); got["credentials"][0].Status != doctor.Fail || got["scope"][0].Status != doctor.Skipped {
		t.Errorf("with a wrong password: got %+v", got)
	}
	t.Setenv("OS_PASSWORD", "canary-password")
	t.Setenv("OS_PROJECT_NAME", "nosuch")
	if got := examined(exitFindings); got["credentials"][0].Status != doctor.OK || got["scope"][0].Status != doctor.Fail {
		t.Errorf("with a wrong project: got %+v", got)
	}
}

// If the doctor is interrupted, the remaining checks are skipped, and the report has a line for each check.
func TestTheDoctorIsInterrupted(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := program{environ: []string{"HOME=" + t.TempDir()}}
	var names []string
	for _, l := range doctor.Examine(ctx, p.setUp()) {
		names = append(names, l.Check)
		if l.Status != doctor.Skipped {
			t.Errorf("got %+v", l)
		}
	}
	if !slices.Equal(names, doctor.Names()) {
		t.Errorf("got %q", names)
	}
}

// If a newer release has migrated the database, the doctor nevertheless knows that the database has a secret key.
func TestTheLostKeyOfANewerDatabase(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	path := filepath.Join(t.TempDir(), "t.db")
	env := []string{"HOME=" + t.TempDir(), "TENANTRY_DATABASE_URL=sqlite:" + path}
	if code, out, stderr := line(t, env, "migrate"); code != 0 {
		t.Fatalf("got %d, %s%s", code, out, stderr)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
	if err := errors.Join(err, db.Close(), os.Remove(path+".key")); err != nil {
		t.Fatal(err)
	}
	_, out, _ := line(t, env, "doctor")
	for _, want := range []string{"\nfail     schema                the database has version 9999 of the schema", "\nfail     secret-key            " + path + ".key is missing"} {
		if !strings.Contains(out, want) {
			t.Errorf("got %s, want %s", out, want)
		}
	}
}
