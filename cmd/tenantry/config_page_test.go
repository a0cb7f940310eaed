package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

//go:generate go test -count=1 -run ^TestThe(ConfigurationPage|SampleConfiguration)IsCurrent$ . -write-page

const configurationPage = "../../docs/configuration.md"

var writePage = flag.Bool("write-page", false, "write docs/configuration.md and deploy/config/tenantry.yaml instead of comparing them")

const pageHead = `# Configuration

<!-- make generate writes this page from cmd/tenantry/config_settings.go. -->

The server commands (` + "`serve`, `migrate`, `merchant`, `meter-key`, `healthcheck`" + `) read these settings. Each setting is an environment variable, or a key of the
YAML file that ` + "`TENANTRY_CONFIG`" + ` names. A variable overrides the key in the file. An empty value means that the setting is not
set. A command reports all invalid values and unknown names together. ` + "`tenantry serve --print-config`" + ` prints the current values
as a YAML file, with masked secrets. The [sample](../deploy/config/tenantry.yaml) of the file has every setting with its default.
Operators read the values of a running replica, and the source of each value, with
` + "`GET /v1/settings`" + ` or at **Settings** in the [console](console.md).

A duration is a number with a unit, such as ` + "`90s`, `15m` or `1h30m`" + `. Commas separate the items of a list. In the file, a list can
also be a YAML list.

`

const pageTail = `
Set the address of Keystone and the service's credential with ` + "`OS_*`" + ` variables, or with
` + "`OS_CLOUD`" + ` and ` + "`clouds.yaml`" + `, as for every OpenStack client. The Go runtime reads the variables ` + "`GOGC`" + `
(default ` + "`400`" + `) and ` + "`GOMEMLIMIT`" + ` (default ` + "`160MiB`" + `).

## The client commands

The commands that call a server, such as ` + "`tenantry subscribe` and `tenantry runs`" + `, read these environment variables:

| variable | default | meaning |
| --- | --- | --- |
| ` + "`TENANTRY_URL`" + ` | ` + "`http://127.0.0.1:9292`" + ` | Address of the server, without user and password. The client sends a credential over ` + "`http://`" + ` only to a loopback address. |
| ` + "`TENANTRY_API_KEY`, `TENANTRY_API_SECRET`" + ` | | A portal's API key and its secret. |
| ` + "`TENANTRY_USER_TOKEN`" + ` | first line of standard input | The unscoped Keystone token of the user who subscribes. |
| ` + "`OS_TOKEN`" + ` | a login with ` + "`OS_*`" + ` | An operator's Keystone token. |
`

// The function `page` returns the text of docs/configuration.md.
func page() string {
	var c Config
	related := map[string][]string{}
	for _, r := range c.relations() {
		related[r.key] = append(related[r.key], r.rule)
	}
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString("| variable, key | unit | default | range | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range c.settings() {
		fallback := s.otherwise
		if s.fallback != "" {
			fallback = "`" + s.fallback + "`"
		}
		values := strings.Join(append([]string{s.values}, related[s.key]...), "; ")
		fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | %s | %s | %s |\n", variable(s.key), s.key, s.unit, fallback, values, s.meaning)
	}
	b.WriteString(pageTail)
	return b.String()
}

func TestTheConfigurationPageIsCurrent(t *testing.T) {
	writeOrCompare(t, configurationPage, page())
}

// writeOrCompare compares a generated file with the text that it should have. With the flag -write-page, it writes the file instead.
func writeOrCompare(t *testing.T, path, want string) {
	t.Helper()
	if *writePage {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is stale, run make generate: %v", path, err)
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	var c Config
	for _, s := range c.settings() {
		if s.unit == "" || s.values == "" || s.meaning == "" || s.example == "" || cmp.Or(s.fallback, s.otherwise) == "" {
			t.Errorf("%s: meaning, example, unit or range is missing in %+v, unit %q, range %q", s.key, s.about, s.unit, s.values)
		}
	}
}
