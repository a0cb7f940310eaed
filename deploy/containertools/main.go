// Command containertools reads Dockerfiles and Compose files with the code of BuildKit and Compose, without a container engine. The
// tests in deploy/installtest run it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
)

const help = `usage:
  containertools lint DOCKERFILE             print what BuildKit's linter finds; exit with 1 if it finds something
  containertools stages DOCKERFILE           print the stages of the Dockerfile as JSON
  containertools context FOLDER              print the files that .dockerignore leaves in the build context
  containertools compose FILE NAME=VALUE...  check the file against the Compose specification, and print the project as JSON; the
                                             values replace the variables in the file
`

func main() {
	commands := map[string]func(ctx context.Context, path string, rest []string) (any, error){
		"lint": lint, "stages": stages, "context": buildContext, "compose": compose,
	}
	if len(os.Args) < 3 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, help)
		os.Exit(2)
	}
	result, err := commands[os.Args[1]](context.Background(), os.Args[2], os.Args[3:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
