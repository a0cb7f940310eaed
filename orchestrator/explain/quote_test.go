package explain

import (
	"strings"
	"testing"
)

func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"a-b_c.d/e9": "a-b_c.d/e9", "": "''", "a b": "'a b'", "a'b": `'a'\''b'`, "$(x)": "'$(x)'", "a\nb": "'a\nb'", "é": "'é'", "`x`": "'`x`'",
	} {
		if got := ShellWord(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if strings.Contains(Command("a", "b;c"), " b;c") {
		t.Error("a word is not quoted")
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
