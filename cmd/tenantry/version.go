package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// The variable `version` is the version of this release. The linker sets the variable.
var version = "unknown"

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, version)
			return err
		},
	}
}
