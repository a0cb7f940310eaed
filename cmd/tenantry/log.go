package main

import (
	"io"
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
		// The writer quotes all texts from outside. A screen would escape the writer's colors.
		w = zerolog.ConsoleWriter{Out: underneath(w), NoColor: !terminal(w), TimeFormat: time.RFC3339}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	file, ok := underneath(w).(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
