package doctor

import (
	"regexp"
	"strings"
)

// The function `command` returns a command for the shell. Each word is quoted if the shell would change it.
func command(words ...string) Fix {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(word)
	}
	return Fix{Command, strings.Join(quoted, " ")}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
