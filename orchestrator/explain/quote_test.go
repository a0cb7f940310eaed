package explain

import (
	"os/exec"
	"strings"
	"testing"
)

func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"a-b_c.d/e9": "a-b_c.d/e9", "https://u@h:1/a+b%20?c": "'https://u@h:1/a+b%20?c'", "a=b,c:d@e%f+g": "a=b,c:d@e%f+g", "": "''", "a b": "'a b'", "a'b": `'a'\''b'`, "$(x)": "'$(x)'", "a\nb": "'a\nb'", "é": "'é'", "`x`": "'`x`'",
	} {
		if got := ShellWord(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	words := []string{"printf", `%s\n`, "plain", "two words", `it's "$HOME" $(id)`, "a;b", "", "*", "-x", "~", "ü\x1b"}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", Command(words...)).Output()
	if want := strings.Join(words[2:], "\n") + "\n"; err != nil || string(out) != want {
		t.Errorf("a shell reads %q, %v, want %q", out, err, want)
	}
}

func TestTextsFromOutsideAreShownAsData(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b[31mb\nc": `"a\x1b[31mb\nc"`, "a\u202eb": `"a\u202eb"`, `say "x"`: `"say \"x\""`, "Ülkü 日本": `"Ülkü 日本"`, "\xff": "\"\uFFFD\"",
	} {
		if got := Quote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{"a\x1b\u202e\nb": `a\x1b\u202e\nb`, `say "x" \n`: `say "x" \n`} {
		if got := Line(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if got := Quote(strings.Repeat("ü", 10_000)); len(got) > maxExcerpt+10 || !strings.HasSuffix(got, `ü..."`) {
		t.Errorf("got %d bytes: %s", len(got), got)
	}
}
