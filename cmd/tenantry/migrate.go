package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) migrate() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Migrate the database to this release's schema", Args: exactly(),
		Long: "Migrate the database to this release's schema, as `tenantry serve` does when it starts. " +
			"First stop all servers of earlier releases. Servers of this release can keep running. Several migrate commands can run at once.",
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
