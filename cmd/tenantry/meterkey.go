package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	meters "github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
)

func (p *program) meterKey() *cobra.Command {
	return group("meter-key", "Manage the keys with which Ceilometer sends samples",
		"Manage the meter keys in the configured database. No server needs to run. The Ceilometer of a cloud sends samples of usage to\n"+
			"/v1/usage/ceilometer, and authenticates with a meter key of the cloud.\n\n"+exitHelp,
		p.meterKeyCreate(), p.meterKeyList(), p.meterKeyRevoke())
}

// meterKeyView is a meter key as the commands print it.
type meterKeyView struct {
	Key       string     `json:"key"`
	Secret    string     `json:"secret,omitempty"` // only of a new key
	Cloud     string     `json:"cloud"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

func viewMeterKey(k meters.MeterKey, secret string) meterKeyView {
	return meterKeyView{k.Key, secret, k.Cloud, k.CreatedAt, k.RevokedAt}
}

func (p *program) meterKeyCreate() *cobra.Command {
	c := &cobra.Command{
		Use: "create", Short: "Create a meter key for a cloud", Args: exactly(),
		Long: "Create a meter key for a cloud. Samples that are sent with the key belong to this cloud. The secret is shown only once, because it\n" +
			"is not stored. You can write key and secret into a URL without encoding them.\n\n" +
			"The command refuses a cloud that no merchant uses and that has no entry in clouds.yaml. Samples of a cloud that no merchant uses are dropped.",
	}
	cloud := c.Flags().String("cloud", merchants.DefaultCloud, "cloud of the samples: the name of an entry of clouds.yaml, or \"default\" for the cloud that OS_* variables describe")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := text.parse(*cloud); err != nil || *cloud == "" {
			return usage("--cloud: %w", cmp.Or(err, errors.New("the name is empty")))
		}
		return p.withStore(cmd.Context(), func(c Config, s *store.Store) error {
			if err := p.checkCloud(cmd.Context(), s, *cloud); err != nil {
				return err
			}
			key, secret, err := meters.NewKey(rand.Reader, *cloud, now())
			if err != nil {
				return err
			}
			if err := s.Usage().CreateMeterKey(cmd.Context(), key); err != nil {
				return exit(exitUnreachable, err)
			}
			p.wrote(c, "meter key "+key.Key)
			return f.print(p.out, viewMeterKey(key, secret), func(w io.Writer) {
				row(w, "cloud", key.Cloud)
				row(w, "meter key", key.Key)
				row(w, "secret", secret)
			})
		})
	}
	return c
}

// checkCloud refuses a cloud that neither a merchant nor clouds.yaml has. If there is no clouds.yaml, or it cannot be read, the cloud may exist. In
// this case, checkCloud prints a warning.
func (p *program) checkCloud(ctx context.Context, s *store.Store, cloud string) error {
	known := []string{merchants.DefaultCloud}
	if err := merchants.Each(ctx, s.Merchants(), "", func(m merchants.Merchant) { known = append(known, m.Cloud) }); err != nil {
		return exit(exitUnreachable, err)
	}
	if slices.Contains(known, cloud) {
		return nil
	}
	entries, file, err := clouds.Names()
	switch {
	case slices.Contains(entries, cloud):
		p.say("tenantry: no merchant has the cloud %s yet: its samples are dropped until a merchant has it", cloud)
		return nil
	case err != nil:
		p.say("tenantry: no merchant has the cloud %s, and clouds.yaml cannot be read: %v; if the name is wrong, the samples are dropped", cloud, err)
		return nil
	case file == "":
		p.say("tenantry: no merchant has the cloud %s, and there is no clouds.yaml here: if the name is wrong, the samples are dropped", cloud)
		return nil
	}
	known = append(known, entries...)
	slices.Sort(known)
	return usage("--cloud: no merchant has the cloud %q, and %s has no such entry; the known clouds are %s", cloud, file, strings.Join(slices.Compact(known), ", "))
}

func (p *program) meterKeyList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the meter keys, oldest first", Args: exactly()}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.withStore(cmd.Context(), func(_ Config, s *store.Store) error {
			keys, err := s.Usage().MeterKeys(cmd.Context())
			if err != nil {
				return exit(exitUnreachable, err)
			}
			all := []meterKeyView{}
			for _, k := range keys {
				all = append(all, viewMeterKey(k, ""))
			}
			return f.print(p.out, all, func(w io.Writer) { meterKeyTable(w, all...) })
		})
	}
	return c
}

func (p *program) meterKeyRevoke() *cobra.Command {
	c := &cobra.Command{
		Use: "revoke METER_KEY", Short: "Revoke a meter key", Args: exactly("METER_KEY"),
		Long: "Revoke a meter key. The replicas refuse the key after at most 30 seconds. A replica that cannot reach the database refuses the\n" +
			"key when it reaches the database again. You can repeat the command.",
	}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.withStore(cmd.Context(), func(c Config, s *store.Store) error {
			key, err := s.Usage().RevokeMeterKey(cmd.Context(), args[0], now())
			switch {
			case errors.Is(err, meters.ErrNoKey):
				return exit(exitRefused, fmt.Errorf("meter key %s: %w", args[0], err))
			case err != nil:
				return exit(exitUnreachable, err)
			}
			p.wrote(c, "meter key "+key.Key)
			view := viewMeterKey(key, "")
			return f.print(p.out, view, func(w io.Writer) { meterKeyTable(w, view) })
		})
	}
	return c
}

func meterKeyTable(w io.Writer, all ...meterKeyView) {
	row(w, "METER KEY", "CLOUD", "CREATED", "REVOKED")
	for _, k := range all {
		revoked := "-"
		if k.RevokedAt != nil {
			revoked = k.RevokedAt.Format(timeLayout)
		}
		row(w, k.Key, k.Cloud, k.CreatedAt.Format(timeLayout), revoked)
	}
}
