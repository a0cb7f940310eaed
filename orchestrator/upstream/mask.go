package upstream

import (
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shortestSecret is the length of the shortest secret that Mask replaces, in bytes. A shorter secret also occurs in ordinary words, so Mask
// cannot hide it.
const shortestSecret = 4

// Mask returns the text with "[secret]" in place of each secret. Use Mask for the texts of a service, because the service may
// repeat parts of the request. Mask also finds a secret that is encoded for JSON or for a URL. Mask the text before [Clean] cuts it.
func Mask(text string, secrets ...string) string { return Masker(secrets...).Replace(text) }

// Masker returns a replacer for several texts. The replacer changes a text in the same way as [Mask].
func Masker(secrets ...string) *strings.Replacer {
	var forms []string
	for _, secret := range secrets {
		if len(secret) >= shortestSecret {
			forms = append(forms, encodings(secret)...)
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // a form may be a part of a longer form
	var pairs []string
	for _, form := range forms {
		pairs = append(pairs, form, "[secret]")
	}
	return strings.NewReplacer(pairs...)
}

// maxForm is the maximum length of an encoded secret that is encoded again, in bytes. An encoding can make a text several times longer.
const maxForm = 16 << 10

// The expression `plain` matches the secrets that no encoding changes, such as tokens.
var plain = regexp.MustCompile(`^[0-9A-Za-z_-]+$`)

// The function `encodings` returns the secret itself, and the secret encoded for a URL, for JSON and for a quoted text. Up to three
// encodings are combined, because a message can quote a text that contains a body.
func encodings(secret string) []string {
	if plain.MatchString(secret) {
		return []string{secret}
	}
	forms, level := []string{secret}, []string{secret}
	for range 3 {
		var next []string
		for _, from := range level {
			if from != secret && len(from) > maxForm {
				continue
			}
			html, _ := json.Marshal(from) //nolint:errcheck // the encoding of a string cannot fail
			ascii := strconv.QuoteToASCII(from)
			for _, form := range []string{
				string(html[1 : len(html)-1]), ascii[1 : len(ascii)-1], strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(from),
			} {
				if !slices.Contains(forms, form) {
					forms, next = append(forms, form), append(next, form)
				}
			}
		}
		level = next
	}
	return append(forms, url.QueryEscape(secret), url.PathEscape(secret))
}

// MaskError returns an error that wraps err. The text of this error is the text of err, in which Mask has replaced the secrets. If
// err contains no secret, MaskError returns err itself.
func MaskError(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	if text := Mask(err.Error(), secrets...); text != err.Error() {
		return &maskedError{text, err}
	}
	return err
}

// maskedError is an error whose text contains no secret.
type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }
