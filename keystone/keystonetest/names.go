package keystonetest

import "strings"

// The method `same` compares two names as the database of Keystone does: exactly, or like a collation of MySQL if
// Options.LooseNames is set.
func (k *Keystone) same(a, b string) bool {
	return a == b || k.loose && k.plain(a) == k.plain(b)
}

// sameValue compares a value in the body of a request with a name. The value may be missing.
func (k *Keystone) sameValue(value any, name string) bool {
	text, ok := value.(string)
	return ok && k.same(text, name)
}

// The method `plain` returns a normalized form of the name. Two names have the same normalized form if Keystone's database treats them as
// equal.
func (k *Keystone) plain(name string) string {
	if !k.loose {
		return name
	}
	return accents.Replace(strings.ToLower(name))
}

// The variable `accents` replaces some letters by the same letters without an accent. MySQL's collation utf8_general_ci treats a letter as
// equal to the same letter with an accent.
var accents = strings.NewReplacer("á", "a", "à", "a", "â", "a", "ä", "a", "å", "a", "é", "e", "è", "e", "ê", "e", "ë", "e", "í", "i", "ì", "i",
	"î", "i", "ï", "i", "ó", "o", "ò", "o", "ô", "o", "ö", "o", "ú", "u", "ù", "u", "û", "u", "ü", "u", "ç", "c", "ñ", "n")
