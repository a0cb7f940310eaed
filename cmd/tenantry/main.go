// Command tenantry is the orchestrator: its server, and the tools of those who run it.
package main

import (
	"fmt"
	"os"
)

// main shows the configuration.
func main() {
	config, err := loadConfig("", os.Environ())
	if err == nil {
		err = config.print(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
