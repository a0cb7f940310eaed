package explain

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExcerpt is the maximum length of a text from outside in an explanation, in bytes before the escapes. The store keeps at most this
// number of bytes of an upstream's text.
const maxExcerpt = 1 << 10

// Quote returns a text of another system in quotation marks. Control characters, invisible characters and quotation marks are escaped, and a
// long text is cut.
func Quote(text string) string { return strconv.Quote(excerpt(text)) }

// Line returns a text from outside as one line, without quotation marks. Control characters and invisible characters are escaped, and a long
// text is cut.
func Line(text string) string {
	text = excerpt(text)
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hidden(r) {
			escaped := strconv.QuoteRune(r)
			b.WriteString(escaped[1 : len(escaped)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// The function `hidden` reports whether a character controls a terminal, or is invisible.
func hidden(r rune) bool { return r != ' ' && !strconv.IsPrint(r) || unicode.Is(unicode.Cf, r) }

// The function `excerpt` cuts a long text, and replaces bytes that are not UTF-8.
func excerpt(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxExcerpt {
		return text
	}
	cut := maxExcerpt
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// Command joins the words into a shell command, and quotes each word where necessary.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = ShellWord(word)
	}
	return strings.Join(quoted, " ")
}

// ShellWord returns the text as one word of a shell command, in quotes where necessary. Names and ids come from Keystone, and may contain
// any character.
func ShellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
