package portal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const someMerchant = "5d1a7b8e-36b2-4f0a-9e0a-0a8f5f6f1f10"

// The function `folder` returns a new folder with the files that an entry of the tests names.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "ts_x\n", "empty": " \n", "logo.svg": "<svg/>", "logo.gif": "GIF", "large.png": strings.Repeat("x", maxLogo+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "open"), []byte("ts_x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func readText(t *testing.T, dir, text string) ([]Site, error) {
	t.Helper()
	path := filepath.Join(dir, "portals.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadSites(path)
}

func TestTheFileOfPortals(t *testing.T) {
	got, err := readText(t, folder(t), `portals:
  - merchant: `+someMerchant+`
    name: ACME Cloud
    key: tk_1
    secret_file: secret
    currency: EUR
    logo: logo.svg
    colours: {header: "#FFFFFF", accent: "#0b6e4f"}
  - {merchant: 5d1a7b8e-36b2-4f0a-9e0a-0a8f5f6f1f11, name: Other, key: tk_2, secret_file: secret}
`)
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	want := Site{
		Merchant: someMerchant, Name: "ACME Cloud", Key: "tk_1", Secret: "ts_x", Currency: "EUR", Logo: Logo{"image/svg+xml", []byte("<svg/>")},
		Header: "#FFFFFF", Accent: "#0b6e4f",
	}
	if fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got[0], want)
	}
	if s := got[1]; s.Logo.Content != nil || s.Currency != "" || !strings.Contains(string(s.style()), "--accent: #1d4ed8; --on-accent: #ffffff") {
		t.Errorf("got %v", s)
	}
}

// A fault of the file names the portal and the field. The secret is never a part of an error.
func TestFaultsInTheFileOfPortals(t *testing.T) {
	whole := map[string]string{"merchant": someMerchant, "name": "ACME", "key": "tk_1", "secret_file": "secret"}
	for change, want := range map[string]string{
		"merchant: ":     "merchant is not the id of a merchant",
		"merchant: ACME": "merchant is not the id of a merchant",
		"merchant: " + strings.ToUpper(someMerchant): "merchant is not the id of a merchant",
		"name: ":                               "name must have 1 to 100 characters",
		"name: " + strings.Repeat("x", 101):    "name must have 1 to 100 characters",
		"key: ":                                "key is missing",
		"secret_file: ":                        "secret_file is missing",
		"secret_file: nowhere":                 "no such file",
		"secret_file: open":                    "chmod 600",
		"secret_file: empty":                   "is empty",
		"secret_file: large.png":               "is larger than 1024 bytes",
		"currency: " + strings.Repeat("x", 11): "currency must have at most 10 characters",
		"logo: nowhere.png":                    "logo: open",
		"logo: logo.gif":                       "must end with .svg",
		"logo: large.png":                      "is larger than 262144 bytes",
		`colours: {header: "red"}`:             "colours: header is not a colour",
		`colours: {accent: "#12"}`:             "colours: accent is not a colour",
		"secret: ts_x":                         `unknown field "secret"`,
	} {
		t.Run(change, func(t *testing.T) {
			name, _, _ := strings.Cut(change, ":")
			lines := []string{change}
			for field, text := range whole {
				if field != name {
					lines = append(lines, field+": "+text)
				}
			}
			_, err := readText(t, folder(t), "portals:\n  - "+strings.Join(lines, "\n    ")+"\n")
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ts_x") {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	for text, want := range map[string]string{
		"":            "has no portals",
		"portals: []": "has no portals",
		"portals: 3":  "[1:10]",
		"x: 1":        `unknown field "x"`,
		"portals:\n" + strings.Repeat("- {}\n", 1001): "at most 1000",
		strings.Repeat("#", maxFileSize+1):            "is larger than",
		"portals:\n" + strings.Repeat("- {merchant: "+someMerchant+", name: A, key: k, secret_file: secret}\n", 2): "another portal of the same merchant",
	} {
		if _, err := readText(t, folder(t), text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

// The text on a colour has a contrast of at least 4.5, as WCAG 2 demands it for small text.
func TestTextIsReadableOnEachColour(t *testing.T) {
	for c, want := range map[Colour]string{
		"#000000": "#ffffff", "#ffffff": "#000000", "#1d4ed8": "#ffffff", "#0b6e4f": "#ffffff", "#ffd400": "#000000", "#777777": "#000000", "#757575": "#ffffff",
		"#6f6f6f": "#ffffff",
	} {
		if got := c.Text(); got != want {
			t.Errorf("%s: got %s, want %s", c, got, want)
		}
	}
}

func TestTheTextOfAStep(t *testing.T) {
	for name, want := range map[string]string{
		"check": "Check the order", "assign-customer-role/member": "Give you access to your customer account", "revoke-role/x": "Revoke role", "": "Step", "/x": "Step",
	} {
		if got := stepText(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestALongTextIsCut(t *testing.T) {
	if got := short(strings.Repeat("é", maxText)); got != strings.Repeat("é", maxText) {
		t.Errorf("got %d bytes", len(got))
	}
	if got := short(strings.Repeat("é", maxText+1)); got != strings.Repeat("é", maxText)+"…" {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestThePriceOfAnItem(t *testing.T) {
	fixed := func(price any) []any { return []any{map[string]any{"type": "fixed", "price": price}} }
	for _, c := range []struct {
		pricing []any
		want    string
	}{
		{fixed(0.05), "0.05"},
		{fixed("2.00"), "2.00"},
		{fixed(0.0001), "0.0001"},
		{fixed(1000000.0), "1000000"},
		{nil, ""},
		{fixed(nil), ""},
		{[]any{"x"}, ""},
		{slices.Concat(fixed(1.0), fixed(2.0)), ""},
		{[]any{map[string]any{"type": "volume", "price": 1.0}}, ""},
	} {
		if got := price(c.pricing); got != c.want {
			t.Errorf("%v: got %q, want %q", c.pricing, got, c.want)
		}
	}
}
