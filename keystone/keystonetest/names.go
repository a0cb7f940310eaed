package keystonetest

import "strings"

// The method `same` compares two names as the database of Keystone does: exactly, or like a collation of MySQL if
// Options.LooseNames is set.
func (k *Keystone) same(a, b string) bool {
	return a == b || k.loose && plain.Replace(strings.ToLower(a)) == plain.Replace(strings.ToLower(b))
}

// sameValue compares a value in the body of a request with a name. The value may be missing.
func (k *Keystone) sameValue(value any, name string) bool {
	text, ok := value.(string)
	return ok && k.same(text, name)
}

// The variable `plain` replaces accented letters with letters without an accent. MySQL's collation utf8_general_ci does not
// distinguish them. The list of letters is not complete.
var plain = strings.NewReplacer("á", "a", "à", "a", "â", "a", "ä", "a", "å", "a", "é", "e", "è", "e", "ê", "e", "ë", "e", "í", "i", "ì", "i",
	"î", "i", "ï", "i", "ó", "o", "ò", "o", "ô", "o", "ö", "o", "ú", "u", "ù", "u", "û", "u", "ü", "u", "ç", "c", "ñ", "n")

// hasName reports whether the name matches the name in the query. If the query contains no name, every name matches.
func (k *Keystone) hasName(c call, name string) bool {
	wanted, ok := c.URL.Query()["name"]
	return !ok || k.same(wanted[0], name)
}
