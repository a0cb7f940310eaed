package main

import (
	"io"
	"maps"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// newLog returns a log in JSON or, if LogFormat is console, in a readable format.
func newLog(c Config, w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		return zerolog.Nop(), err
	}
	if c.LogFormat == "console" {
		// The type `screen` would also escape the colors of the console writer. Therefore escapeLine escapes the texts before the console
		// writer adds colors.
		w = zerolog.ConsoleWriter{Out: underneath(w), NoColor: !terminal(w), TimeFormat: time.RFC3339, FormatPrepare: escapeLine}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

// escapeLine escapes the texts of a log line. It does not escape strings in fields, because the console writer quotes these strings
// itself. The message and the names of the fields may contain text of an upstream.
func escapeLine(line map[string]any) error {
	escaped := map[string]any{}
	for name, value := range line {
		_, text := value.(string)
		quoted := text && name != zerolog.MessageFieldName && name != zerolog.LevelFieldName && name != zerolog.CallerFieldName
		if !quoted {
			value = escapeValue(value)
		}
		escaped[visible(name)] = value
	}
	clear(line)
	maps.Copy(line, escaped)
	return nil
}

// escapeValue escapes all texts in a decoded JSON value.
func escapeValue(value any) any {
	switch v := value.(type) {
	case string:
		return visible(v)
	case []any:
		for i := range v {
			v[i] = escapeValue(v[i])
		}
	case map[string]any:
		escaped := map[string]any{}
		for name, inner := range v {
			escaped[visible(name)] = escapeValue(inner)
		}
		return escaped
	}
	return value
}

// The function `terminal` reports whether w is a terminal.
func terminal(w io.Writer) bool {
	file, ok := underneath(w).(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
