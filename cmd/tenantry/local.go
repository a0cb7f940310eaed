package main

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store"
)

const localHelp = `With --local, the command uses the database directly, for example while Keystone is down. It then needs no server and no
credential. It needs the settings of the server (TENANTRY_CONFIG, TENANTRY_*), and an operating-system user who may read and
write the database. The history records the user as local:USER. Running servers carry out an action within seconds.

`

// localFlag is the name of the flag with which a command uses the database directly.
const localFlag = "local"

func addLocalFlag(c *cobra.Command) {
	c.PersistentFlags().Bool(localFlag, false, "use the database in the server's settings directly; needs no server and no credential")
}

// The method `connect` returns a client of the database if the flag --local is set. Otherwise, `connect` returns the client that
// the function asRemote returns. The caller must close the client.
func (p *program) connect(cmd *cobra.Command, asRemote func(context.Context) (remote, error)) (remote, error) {
	if local, err := cmd.Flags().GetBool(localFlag); err != nil || !local {
		return asRemote(cmd.Context())
	}
	return p.asLocal(cmd.Context())
}

// asLocal returns a client of the database that is configured for the server. The client sends its requests to the API's handler in
// this process.
func (p *program) asLocal(ctx context.Context) (remote, error) {
	c, err := loadConfig("", p.environ, "secret_key") // may be missing: it encrypts users' tokens, which only the server reads and stores
	if err != nil {
		return remote{}, exit(exitUsage, err)
	}
	log := zerolog.New(causes{p}).Level(zerolog.ErrorLevel) // the cause of an internal error is only in the log
	local, err := service.OpenLocal(ctx, c.Config, localUser(), log)
	if err != nil {
		return remote{}, exit(exitUnreachable, lines(err.Error(), "  --local uses the database "+store.Address(c.DatabaseURL)+
			": check that it is up, that TENANTRY_CONFIG and TENANTRY_DATABASE_URL are those of the server, and that this user may read and write the database"))
	}
	p.say("tenantry: using the database %s", store.Address(c.DatabaseURL))
	over := newHTTPClient()
	over.Transport = local
	to, err := client.NewClientWithResponses("http://local", client.WithHTTPClient(over))
	return remote{ClientWithResponses: to, after: time.After, local: local}, err
}

// The type `causes` is the writer of a JSON log. For each line of the log, it prints the cause of the error as a plain message.
type causes struct{ *program }

// Write implements [io.Writer] for one line of the log.
func (p causes) Write(line []byte) (int, error) {
	var logged struct{ Message, Error string }
	if err := json.Unmarshal(line, &logged); err != nil {
		return 0, err
	}
	p.say("tenantry: %s", cmp.Or(logged.Error, logged.Message))
	return len(line), nil
}

// The method `close` closes the database of a local client.
func (s remote) close() {
	if s.local != nil {
		_ = s.local.Close() // all that was written is committed
	}
}

// The method `flags` returns the flags that select this client. If the output of a command suggests another command, the suggested
// command has these flags.
func (s remote) flags() []string {
	if s.local == nil {
		return nil
	}
	return []string{"--" + localFlag}
}

// localUser returns the name of the operating-system user, or the user's number if the user has no name.
func localUser() string {
	id := strconv.Itoa(os.Getuid())
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return id
}
