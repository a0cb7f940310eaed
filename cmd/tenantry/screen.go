package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The type `screen` is a writer through which a command prints everything, except the pictures on a terminal. The texts of servers,
// upstreams, merchants and users may contain characters that control a terminal. A screen writes such a character as a JSON escape,
// so that output in JSON stays valid. A screen keeps newlines and tabs, because they structure the output: see the function
// `visible`.
type screen struct {
	to io.Writer
	// The function `broken` is called when the reader of the output is gone. For example, `head` reads a few lines and ends.
	broken func()
}

// Write writes p with escapes. Write may be called concurrently if the writer `to` permits concurrent calls.
func (s *screen) Write(p []byte) (int, error) {
	_, err := io.WriteString(s.to, escape(string(p), "\n\t"))
	if errors.Is(err, syscall.EPIPE) && s.broken != nil {
		s.broken()
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// The function `underneath` returns the writer that a screen writes to. If w is not a screen, `underneath` returns w.
func underneath(w io.Writer) io.Writer {
	if s, ok := w.(*screen); ok {
		return s.to
	}
	return w
}

// The function `visible` returns a text as one line without characters that control a terminal. `visible` must be called for each
// text that becomes a part of a line: otherwise, a newline in the text of a server could add a line to the output.
func visible(text string) string { return escape(text, "") }

// The function `escape` writes an escape in place of each character that controls a terminal. It does not escape the characters in
// `kept`.
func escape(text, kept string) string {
	unsafe := func(r rune) bool { return controls(r) && !strings.ContainsRune(kept, r) }
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

// The function `controls` reports whether a character can control a terminal or hide other characters. These characters are C0 and
// C1 controls, line separators, and invisible format characters, such as the marks that change the direction of text. The result is
// false for the two joiners, because names in some scripts need them.
func controls(r rune) bool {
	const nonJoiner, joiner = '\u200C', '\u200D'
	return r != nonJoiner && r != joiner && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
