// Package readmetest runs the commands in README.md with a real Keystone.
package readmetest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The type `block` is a fenced code block of README.md that a reader saves or runs. The first line of a block names the reader's
// action:
//
//	sh file=NAME    save the block as NAME
//	sh shell=N      run the block in shell N, after all earlier blocks
type block struct {
	line  int // line number of the opening fence
	file  string
	shell string
	text  string
}

var fence = regexp.MustCompile("^( *)```sh (file|shell)=(\\S+)$")

// The function `blocks` returns the blocks of a document in their order in the document. If a block is in a list item, `blocks`
// removes the item's indentation from each line of the block.
func blocks(document string) (found []block, err error) {
	lines := strings.Split(document, "\n")
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		b := block{line: i + 1}
		if m[2] == "file" {
			b.file = m[3]
		} else {
			b.shell = m[3]
		}
		indent := m[1]
		for i++; i < len(lines) && lines[i] != indent+"```"; i++ {
			b.text += strings.TrimPrefix(lines[i], indent) + "\n"
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the block has no end", b.line)
		}
		found = append(found, b)
	}
	return found, nil
}

// The method `with` replaces values in a copy of the block: each assignment NAME=value gets the new value of NAME. The argument
// `values` contains the new values by name. The block must assign each of these names exactly once: otherwise, the method returns
// an error.
func (b block) with(values map[string]string) (block, error) {
	for name, value := range values {
		assignment := regexp.MustCompile(`\b` + name + `=\S+`)
		if n := len(assignment.FindAllString(b.text, -1)); n != 1 {
			return b, fmt.Errorf("line %d: %s assigns %s %d times, not once", b.line, b.file, name, n)
		}
		b.text = assignment.ReplaceAllLiteralString(b.text, name+"="+value)
	}
	return b, nil
}

func TestBlocks(t *testing.T) {
	document := "```sh\nmake demo\n```\n1. Save:\n   ```sh file=e.env\n   export A=1 B=2\n   ```\n```sh shell=2\n. e.env\n```\n"
	found, err := blocks(document)
	want := []block{{line: 5, file: "e.env", text: "export A=1 B=2\n"}, {line: 8, shell: "2", text: ". e.env\n"}}
	if err != nil || len(found) != 2 || found[0] != want[0] || found[1] != want[1] {
		t.Fatalf("got %+v, %v, want %+v", found, err, want)
	}
	if got, err := found[0].with(map[string]string{"A": "3"}); err != nil || got.text != "export A=3 B=2\n" {
		t.Errorf("with another A: %q, %v", got.text, err)
	}
	if _, err := found[0].with(map[string]string{"C": "3"}); err == nil {
		t.Error("want an error for a name that is not assigned")
	}
	if _, err := blocks("```sh shell=1\nmake\n"); err == nil {
		t.Error("want an error for a block without an end")
	}
}
