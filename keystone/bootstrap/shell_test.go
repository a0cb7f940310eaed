package bootstrap

import (
	"os/exec"
	"strings"
	"testing"
)

func TestBashReadsQuotedWords(t *testing.T) {
	for _, word := range []string{
		"plain", "", "two words", "it's", `a\b`, "$HOME `id` $(id) !! * ? ~ #", "é 漢", "\u202eright to left", "zero\u200bwidth0", "tab\tnewline\n", "\x1b[31m", "'\u202e\\x41",
	} {
		quoted := Quote(word)
		out, err := exec.Command("bash", "-c", "printf %s "+quoted).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q is quoted as %s: bash reads %q, %v", word, quoted, out, err)
		}
		if strings.ContainsFunc(quoted, hidden) {
			t.Errorf("%q is quoted as %q, with a hidden character", word, quoted)
		}
	}
}

func TestAnOptionsValueIsNotAnOption(t *testing.T) {
	got := openstack("role add", [][]string{{"--user", "-u"}, {"--domain", "d"}, {"--flag"}}, "--help")
	if want := "openstack role add --user=-u --domain d --flag -- --help"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
