package bootstrap

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The function `openstack` returns a command line for bash. The first element of an option is a flag. The second element, if there is one,
// is the value of the flag. The operands come last.
func openstack(command string, options [][]string, operands ...string) string {
	words := []string{"openstack", command}
	for _, o := range options {
		if len(o) == 2 && strings.HasPrefix(o[1], "-") {
			o = []string{o[0] + "=" + o[1]} // otherwise, the value would be read as an option
		}
		for _, word := range o {
			words = append(words, Quote(word))
		}
	}
	for _, operand := range operands {
		if strings.HasPrefix(operand, "-") {
			words = append(words, "--")
			break
		}
	}
	for _, operand := range operands {
		words = append(words, Quote(operand))
	}
	return strings.Join(words, " ")
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Quote returns the word as bash reads it. Characters that control a terminal, or that are invisible, are escaped.
func Quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	if !strings.ContainsFunc(word, hidden) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for _, r := range word {
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + string(r))
		case hidden(r):
			for _, c := range []byte(string(r)) { // bash reads bytes in the same way in each locale
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + "'"
}

func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || unicode.IsSpace(r) && r != ' '
}
