package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// If any part of a log line contains the text of an upstream, the console log shows this text on one line, without characters that
// control a terminal.
func TestTheConsoleLogEscapesForeignTexts(t *testing.T) {
	const hostile = "a\x1b[2Jb\r\nc\u202ed\u009be\u2028f\x00g"
	for name, screened := range map[string]bool{"plain": false, "through a screen": true} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := Config{LogFormat: "console", LogLevel: "debug"}
			log, err := newLog(c, &out)
			if screened {
				log, err = newLog(c, &screen{to: &out})
			}
			if err != nil {
				t.Fatal(err)
			}
			nested := map[string]any{hostile: []any{hostile, map[string]string{"x": hostile}}}
			log.Warn().Str("field", hostile).Str(hostile, "x").Err(errors.New(hostile)).Interface("nested", nested).
				Strs("list", []string{hostile}).Str("caller", hostile).Msg("keystone: down, " + hostile)
			line, ended := strings.CutSuffix(out.String(), "\n")
			if !ended || line != visible(line) {
				t.Errorf("the line contains characters that control a terminal: %q", out.String())
			}
			for _, want := range []string{`keystone: down, a\u001b[2Jb\r\nc\u202ed\u009be\u2028f\u0000g`, "field=", "nested=", "list=", "error="} {
				if !strings.Contains(line, want) {
					t.Errorf("got %s, want %s", line, want)
				}
			}
		})
	}
}
