package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) migrate() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Migrate the database to this release's schema", Args: exactly(),
		Long: "Migrate the database to this release's schema, as serve does at its start. Stop all servers of earlier releases " +
			"first. Servers of this release may run, and several migrations may run at once.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.config()
			if err != nil {
				return err
			}
			s, migrations, err := open(cmd.Context(), c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.out, "%d migrations ran\n", migrations)
			return errors.Join(err, s.Close())
		},
	}
}
