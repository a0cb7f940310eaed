// Package escape shows texts from outside without the characters that could deceive the reader, or control the terminal.
package escape

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line returns a text as one line. Newlines and tabs are escaped, too.
func Line(text string) string { return Text(text, "") }

// Text writes an escape in place of each character that controls a terminal or hides other characters. The escape is the same as in a JSON
// text. Text does not escape the characters in `kept`.
func Text(text, kept string) string {
	unsafe := func(r rune) bool { return Controls(r) && !strings.ContainsRune(kept, r) }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unsafe) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0]) // a byte such as 0x9B begins an escape sequence on some terminals
		case !unsafe(r):
			b.WriteString(text[:size])
		case strings.ContainsRune("\n\r\t", r):
			b.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`}[r])
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		text = text[size:]
	}
	return b.String()
}

// Controls reports whether a character can control a terminal or hide other characters. These characters are C0 and
// C1 controls, line separators, and invisible format characters, such as the marks that change the direction of text. The result is
// false for the two joiners, because names in some scripts need them.
func Controls(r rune) bool {
	const nonJoiner, joiner = '\u200C', '\u200D'
	return r != nonJoiner && r != joiner && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
