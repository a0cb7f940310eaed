package loginrate

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

// LooseName returns the same text for all names that Keystone may take for the same name. On MySQL, Keystone ignores case, accents, and spaces at
// the end.
func LooseName(name string) string {
	loose, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), cases.Fold(), norm.NFKC), name)
	if err != nil {
		loose = strings.ToLower(name)
	}
	return strings.TrimSpace(loose)
}
