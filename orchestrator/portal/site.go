package portal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/google/uuid"
)

// Site has the settings of the portal of one merchant.
type Site struct {
	Merchant string // the id in BillingStack
	Name     string // as visitors see it
	Key      string // an API key of the merchant
	Secret   string // the secret of Key
	Currency string // of the prices, as visitors see it, such as EUR; may be empty
	Logo     Logo   // the zero value: the portal shows the name instead
	// Header and Accent are the colours behind the header, and of buttons; empty: dark grey and blue. The text on them is black or white.
	Header, Accent Colour
}

// Logo is a picture.
type Logo struct {
	Type    string // image/svg+xml, image/png, image/jpeg or image/webp
	Content []byte
}

// Colour is a colour like #0b6e4f.
type Colour string

// The limits of the file and of its contents.
const (
	maxFileSize = 1 << 20
	maxSites    = 1000
	maxSecret   = 1 << 10
	maxLogo     = 256 << 10
	maxName     = 100
	maxCurrency = 10
)

// ReadSites reads a YAML file such as
//
//	portals:
//	  - merchant: 5d1a7b8e-36b2-4f0a-9e0a-0a8f5f6f1f10
//	    name: ACME Cloud
//	    key: tk_k2Xw9
//	    secret_file: acme.secret
//	    currency: EUR
//	    logo: acme.svg
//	    colours: {header: "#10241c", accent: "#0b6e4f"}
//
// The fields currency, logo and colours may be missing. Paths are relative to the folder of the file. Other users of the host must not be able to
// read the file of a secret. The error joins all faults.
func ReadSites(path string) ([]Site, error) {
	text, err := readAtMost(path, maxFileSize)
	if err != nil {
		return nil, err
	}
	var file struct {
		Portals []entry `yaml:"portals"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false)) // the formatted error has the line, but not the text, which may be a secret
	}
	switch n := len(file.Portals); {
	case n == 0:
		return nil, errors.New(`the file has no portals: write them as a list under the key "portals"`)
	case n > maxSites:
		return nil, fmt.Errorf("the file has %d portals, but may have at most %d", n, maxSites)
	}
	sites := make([]Site, len(file.Portals))
	seen := map[string]bool{}
	var faults []error
	for i, e := range file.Portals {
		site, found := e.site(filepath.Dir(path))
		if seen[site.Merchant] {
			found = append(found, errors.New("the file has another portal of the same merchant"))
		}
		seen[site.Merchant] = true
		for _, fault := range found {
			faults = append(faults, fmt.Errorf("portal %d %.60q: %w", i+1, e.Merchant, fault))
		}
		sites[i] = site
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return sites, nil
}

// The type `entry` is a portal in the file.
type entry struct {
	Merchant   string `yaml:"merchant"`
	Name       string `yaml:"name"`
	Key        string `yaml:"key"`
	SecretFile string `yaml:"secret_file"`
	Currency   string `yaml:"currency"`
	Logo       string `yaml:"logo"`
	Colours    struct {
		Header string `yaml:"header"`
		Accent string `yaml:"accent"`
	} `yaml:"colours"`
}

// The types of logos, by the ends of the names of their files.
var logoTypes = map[string]string{".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}

// The method `site` checks an entry, and reads the files that it names.
func (e entry) site(folder string) (s Site, faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	s = Site{Merchant: e.Merchant, Name: e.Name, Key: e.Key, Currency: e.Currency}
	if id, err := uuid.Parse(e.Merchant); err != nil || id.String() != e.Merchant {
		fault("merchant is not the id of a merchant: a UUID in lower case, with hyphens")
	}
	if n := len([]rune(e.Name)); n == 0 || n > maxName {
		fault("name must have 1 to %d characters", maxName)
	}
	if len([]rune(e.Currency)) > maxCurrency {
		fault("currency must have at most %d characters", maxCurrency)
	}
	if e.Key == "" {
		fault("key is missing: write the API key that `tenantry merchant create` has printed")
	}
	if e.SecretFile == "" {
		fault("secret_file is missing: write the path of a file that contains the secret of the key")
	} else if secret, err := readSecret(in(folder, e.SecretFile)); err != nil {
		fault("secret_file: %w", err)
	} else {
		s.Secret = secret
	}
	for _, c := range []struct {
		name, value string
		to          *Colour
	}{{"header", e.Colours.Header, &s.Header}, {"accent", e.Colours.Accent, &s.Accent}} {
		switch {
		case c.value == "":
		case !colour.MatchString(c.value):
			fault("colours: %s is not a colour such as \"#0b6e4f\"", c.name)
		default:
			*c.to = Colour(c.value)
		}
	}
	if e.Logo != "" {
		content, err := readAtMost(in(folder, e.Logo), maxLogo)
		kind := logoTypes[strings.ToLower(filepath.Ext(e.Logo))]
		switch {
		case err != nil:
			fault("logo: %w", err)
		case kind == "":
			fault("logo: the name of the file must end with .svg, .png, .jpg, .jpeg or .webp")
		default:
			s.Logo = Logo{kind, content}
		}
	}
	return s, faults
}

var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// The function `in` returns a path relative to a folder, unless the path is absolute.
func in(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o027 != 0 { // a group may read it, because an administrator may have made the group for this purpose
		return "", fmt.Errorf("a group or other users of the host may change %s, or other users may read it: type `chmod 600 %s`", path, path)
	}
	text, err := readAtMost(path, maxSecret)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}

// readAtMost reads a file that has at most the given number of bytes.
func readAtMost(path string, size int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // an error of Close does not matter, because the file has been read
	text, err := io.ReadAll(io.LimitReader(file, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > size {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, size)
	}
	return text, nil
}

// Text returns the colour of text on this colour: black or white. It chooses the colour with the higher contrast according to WCAG 2.
func (c Colour) Text() string {
	part := func(at int) float64 {
		n, err := strconv.ParseUint(string(c)[at:at+2], 16, 8)
		if err != nil {
			return 0
		}
		v := float64(n) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	luminance := 0.2126*part(1) + 0.7152*part(3) + 0.0722*part(5)
	if (luminance+0.05)/0.05 > 1.05/(luminance+0.05) {
		return "#000000"
	}
	return "#ffffff"
}

// The function `style` returns the style sheet with the colours of the site.
func (s Site) style() []byte {
	header, accent := cmp.Or(s.Header, "#1f2937"), cmp.Or(s.Accent, "#1d4ed8")
	return fmt.Appendf(nil, ":root { --header: %s; --on-header: %s; --accent: %s; --on-accent: %s; }\n",
		header, header.Text(), accent, accent.Text())
}
