package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const sampleConfiguration = "../../deploy/config/tenantry.yaml"

const sampleHead = `# Settings of Tenantry. make generate writes this file from cmd/tenantry/config_settings.go.
#
# Each line without a blank after the # is a setting with its default. To change a setting, remove the # and change the value. An
# empty value means the default. Variables override this file: for example, TENANTRY_LISTEN overrides listen. Set secret_key, and a
# database_url with a password, in tenantry.env, which only root can read.
#
# This command prints the settings in force:  tenantry serve --print-config
`

// The function `sample` returns the text of deploy/config/tenantry.yaml.
func sample() string {
	var c Config
	related := map[string][]string{}
	for _, r := range c.relations() {
		related[r.key] = append(related[r.key], r.rule)
	}
	var b strings.Builder
	b.WriteString(sampleHead)
	for _, s := range c.settings() {
		lines := []string{s.meaning, "Unit: " + s.unit + ". Range: " + strings.Join(append([]string{s.values}, related[s.key]...), "; ") + "."}
		if s.fallback == "" {
			lines = append(lines, "Default: "+s.otherwise+".", "Example: "+s.example)
		}
		b.WriteString("\n")
		for _, text := range lines {
			b.WriteString(commented(strings.ReplaceAll(text, "`", "")))
		}
		b.WriteString(strings.TrimRight("#"+s.key+": "+s.fallback, " ") + "\n")
	}
	return b.String()
}

// The function `commented` returns a text as lines of at most 120 bytes, each of which is a comment.
func commented(text string) string {
	var b strings.Builder
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 120 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

func TestTheSampleConfigurationIsCurrent(t *testing.T) {
	writeOrCompare(t, sampleConfiguration, sample())
}

// The sample has each setting once, with its default: with all of its settings, the configuration is the same as without a file.
func TestTheSampleConfigurationHasTheDefaults(t *testing.T) {
	content, err := os.ReadFile(sampleConfiguration)
	if err != nil {
		t.Fatal(err)
	}
	setting := regexp.MustCompile(`(?m)^#(\w+:)`)
	var c Config
	if got, want := len(setting.FindAll(content, -1)), len(c.settings()); got != want {
		t.Errorf("the sample has %d settings, want %d", got, want)
	}
	for what, text := range map[string]string{"as it is": string(content), "all settings": setting.ReplaceAllString(string(content), "$1")} {
		got, err := loadConfig(configFile(t, text), []string{"HOME=/users/ann"})
		got.sources = defaults().sources // the lines of the file
		if err != nil || !reflect.DeepEqual(got, defaults()) {
			t.Errorf("%s: got  %+v, %v\nwant %+v", what, got, err, defaults())
		}
	}
}
