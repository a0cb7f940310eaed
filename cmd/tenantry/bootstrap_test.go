package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/bootstrap"
)

func TestBootstrapRefusesWrongCommandLines(t *testing.T) {
	keystoneEnv(t, "http://127.0.0.1:1/v3")
	const url = "--public-url=http://t"
	for what, c := range map[string]struct {
		env  []string
		args []string
		says string
	}{
		"neither":             {args: []string{url}, says: "--print and --apply"},
		"both":                {args: []string{url, "--print", "--apply"}, says: "--print and --apply"},
		"no file":             {args: []string{url, "--apply"}, says: "--credentials is required"},
		"no URL":              {args: []string{"--print"}, says: "--public-url must be"},
		"a password in a URL": {args: []string{"--print", "--public-url", "http://a:canary@t"}, says: "--public-url must be"},
		"a persona":           {args: []string{url, "--print", "--persona", "root"}, says: `"root"`},
		"a control character": {args: []string{url, "--print", "--service-user", "a\tb"}, says: "--service-user"},
		"an empty name":       {args: []string{url, "--print", "--region", ""}, says: "--region"},
		"roles of operators":  {env: []string{"TENANTRY_ADMIN_ROLE=member"}, args: []string{url, "--print"}, says: "operator of Tenantry"},
		"a role for managers": {
			env: []string{"TENANTRY_CUSTOMER_ROLES=two words"}, args: []string{url, "--print", "--persona", "domain-manager"}, says: `"two words"`,
		},
		"an unknown setting": {env: []string{"TENANTRY_X=1"}, args: []string{url, "--print"}, says: "TENANTRY_X"},
		"an empty password":  {args: []string{url, "--apply", "--password-file", "-"}, says: "--password-file"},
	} {
		code, out, stderr := line(t, c.env, append([]string{"bootstrap", "keystone"}, c.args...)...)
		if code != exitUsage || out != "" || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "canary") {
			t.Errorf("%s: got %d, %s%s, want %q", what, code, out, stderr, c.says)
		}
	}
}

func TestAFileOfCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	domain := "it's a domain"
	file := func(given string) *credentialsFile {
		return &credentialsFile{path: path, given: given, content: func(password string) []variableLine {
			return []variableLine{{"OS_PASSWORD", password}, {"TENANTRY_DOMAIN", domain}}
		}}
	}
	if got, err := file("canary").password(true); err != nil || got != "canary" {
		t.Errorf("an existing user: got %q, %v", got, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was written for an existing user")
	}
	f := file("")
	password, err := f.password(false)
	if err != nil || len(password) != 43 || f.object.State != bootstrap.Created {
		t.Fatalf("got %q, %v", password, err)
	}
	for _, exists := range []bool{false, true} {
		f = file("")
		if got, err := f.password(exists); err != nil || got != password || f.object.State != bootstrap.Exists {
			t.Errorf("again: got %q, %v", got, err)
		}
		if err := f.removeNew(); err != nil {
			t.Error(err)
		}
	}
	if _, err := file("another").password(true); err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "another password") {
		t.Errorf("another password: got %v", err)
	}
	domain = "other"
	f = file("")
	if _, err := f.password(true); err != nil || f.object.State != bootstrap.Differs || strings.Contains(strings.Join(f.object.Fix, ""), password) {
		t.Errorf("other settings: got %+v, %v", f.object, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := file("").password(true); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a readable file: got %v", err)
	}
}

// A shell and systemd read the same value from the file, whatever characters a password has.
func TestAShellAndSystemdReadTheSameValue(t *testing.T) {
	const systemd = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
	folder := t.TempDir()
	path := filepath.Join(folder, "environment.d", "service.conf")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"", "plain", "two words", "it's", `"`, `a\b\`, "`id`", "#;é", `'"\`, "$HOME"} {
		if back, ok := ofEnvValue(envValue(value)); !ok || back != value {
			t.Errorf("%q is written as %s, and read as %q", value, envValue(value), back)
		}
		if err := os.WriteFile(path, []byte("NAME="+envValue(value)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$0"; printf %s "$NAME"`, path).Output()
		if err != nil || string(out) != value {
			t.Errorf("%q: a shell reads %q, %v", value, out, err)
		}
		if strings.Contains(value, "$") {
			continue // this program of systemd replaces variables, which systemd does not do in the files of a service
		}
		read := exec.CommandContext(t.Context(), systemd)
		read.Env = []string{"XDG_CONFIG_HOME=" + folder}
		printed, err := read.Output()
		if err != nil {
			t.Fatal(err)
		}
		// The program prints NAME=VALUE. It puts a value with special characters between double quotes, and escapes it for a shell.
		out, err = exec.CommandContext(t.Context(), "sh", "-c", string(printed)+"\nprintf %s \"$NAME\"").Output()
		if err != nil || string(out) != value {
			t.Errorf("%q: systemd reads %q, %v, from %s", value, out, err, printed)
		}
	}
}

// The service may start in another folder than the one in which bootstrap was typed.
func TestTheFileOfCredentialsHasTheWholePathOfTheAuthority(t *testing.T) {
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{"": "", "ca.pem": filepath.Join(folder, "ca.pem"), "/etc/ca.pem": "/etc/ca.pem"} {
		got := ""
		for _, v := range serviceVariables(bootstrap.Setup{}, Config{}, "http://k/v3", given, &bootstrap.Bootstrap{}, "canary") {
			if v.name == "OS_CACERT" {
				got = v.value
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}
