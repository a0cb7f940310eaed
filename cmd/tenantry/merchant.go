package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/store"
)

func (p *program) merchant() *cobra.Command {
	return group("merchant", "Manage merchants and their API keys",
		"Manage merchants and their API keys in the configured database. No server needs to run. A merchant's id is its\nid in BillingStack. The commands refuse a domain or role that Keystone does not have. For this\ncheck, they log in to Keystone with the OS_* variables or clouds.yaml. If the login fails, they print a warning, and\ndo not check the domain and the roles.\n\n"+exitHelp,
		p.merchantCreate(), p.merchantList(), p.merchantUpdate(), p.merchantSwitch("disable"), p.merchantSwitch("enable"),
		p.merchantRotateKey())
}

func (p *program) merchantCreate() *cobra.Command {
	c := &cobra.Command{
		Use: "create BILLINGSTACK_MERCHANT_ID --name NAME", Short: "Register a merchant and create its first API key",
		Args: exactly("BILLINGSTACK_MERCHANT_ID"),
		Long: "Register a merchant of BillingStack and create its first API key. The API secret is shown only once, because it is not stored.",
	}
	fields, f := merchantFlags(c), formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		id := args[0]
		switch {
		case !billing.ValidID(id):
			return usage("%q is not a merchant's id: the id must be a lower-case uuid", id)
		case fields.name == "":
			return usage("--name is required")
		}
		return p.withStore(cmd.Context(), func(c Config, s *store.Store) error {
			m := merchants.Merchant{ID: id, OnFailure: merchants.Compensate, Cloud: merchants.DefaultCloud}
			if err := fields.apply(cmd, c, &m); err != nil {
				return err
			}
			if err := p.checkKeystone(cmd.Context(), c, merchants.Merchant{Cloud: merchants.DefaultCloud}, m); err != nil {
				return err
			}
			m.CreatedAt = now() // after the calls to Keystone
			key, secret, err := newKey(m)
			if err != nil {
				return err
			}
			if err := s.Merchants().Create(cmd.Context(), m, key); err != nil {
				return ofMerchants(id, err)
			}
			p.wrote(c, "merchant "+id)
			p.warnUnknown(cmd.Context(), c, s, id)
			v := viewMerchant(m)
			created := client.MerchantCreated{
				MerchantID: v.MerchantID, APIKey: key.Key, APISecret: secret, Name: v.Name, Cloud: v.Cloud, Domain: v.Domain,
				CustomerRoles: v.CustomerRoles, SubscriptionRoles: v.SubscriptionRoles, OnFailure: v.OnFailure,
				AdoptUnmarked: v.AdoptUnmarked, SignUp: v.SignUp, MaxLiveRuns: v.MaxLiveRuns, CreatedAt: v.CreatedAt,
			}
			return f.print(p.out, created, func(w io.Writer) { keyTable(w, id, key.Key, secret) })
		})
	}
	return c
}

// newKey creates the first API key of a new merchant.
func newKey(m merchants.Merchant) (k merchants.APIKey, secret string, err error) {
	return merchants.NewKey(rand.Reader, m.ID, m.CreatedAt)
}

// keyTable prints a new API key and its secret.
func keyTable(w io.Writer, merchantID, key, secret string) {
	row(w, "merchant id", merchantID)
	row(w, "API key", key)
	row(w, "API secret", secret)
}

func (p *program) merchantList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the merchants by name", Args: exactly()}
	name := c.Flags().String("name", "", "list only merchants whose names contain this text")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.withStore(cmd.Context(), func(_ Config, s *store.Store) error {
			list := client.MerchantList{Merchants: []client.Merchant{}, Links: client.Links{}}
			err := merchants.Each(cmd.Context(), s.Merchants(), *name, func(m merchants.Merchant) {
				list.Merchants = append(list.Merchants, viewMerchant(m))
			})
			if err != nil {
				return exit(exitUnreachable, err)
			}
			return f.print(p.out, list, func(w io.Writer) { merchantTable(w, list.Merchants...) })
		})
	}
	return c
}

func (p *program) merchantUpdate() *cobra.Command {
	c := &cobra.Command{
		Use: "update MERCHANT_ID", Short: "Change the settings of a merchant for future runs",
		Args: exactly("MERCHANT_ID"),
	}
	fields, f := merchantFlags(c), formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.updateMerchant(cmd.Context(), *f, args[0], func(c Config, m *merchants.Merchant) error {
			return fields.apply(cmd, c, m)
		})
	}
	return c
}

// merchantSwitch returns the command "merchant disable" or "merchant enable".
func (p *program) merchantSwitch(action string) *cobra.Command {
	short := "Disable the merchant's API access; runs in progress continue"
	change := func(m *merchants.Merchant) { m.Disable(now()) }
	if action == "enable" {
		short, change = "Enable the API access of a disabled merchant", (*merchants.Merchant).Enable
	}
	c := &cobra.Command{Use: action + " MERCHANT_ID", Short: short, Args: exactly("MERCHANT_ID")}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.updateMerchant(cmd.Context(), *f, args[0], func(_ Config, m *merchants.Merchant) error {
			change(m)
			return nil
		})
	}
	return c
}

func (p *program) updateMerchant(
	ctx context.Context, f format, id string, change func(Config, *merchants.Merchant) error,
) error {
	return p.withStore(ctx, func(c Config, s *store.Store) error {
		before, err := s.Merchants().Merchant(ctx, id)
		if err != nil {
			return ofMerchants(id, err)
		}
		after := before
		if err := change(c, &after); err != nil {
			return err
		}
		if err := p.checkKeystone(ctx, c, before, after); err != nil {
			return err
		}
		m, err := s.Merchants().Update(ctx, id, func(m *merchants.Merchant) error { return change(c, m) })
		if err != nil {
			return ofMerchants(id, err)
		}
		p.wrote(c, "merchant "+id)
		v := viewMerchant(m)
		return f.print(p.out, v, func(w io.Writer) { merchantTable(w, v) })
	})
}

func (p *program) merchantRotateKey() *cobra.Command {
	c := &cobra.Command{
		Use: "rotate-key MERCHANT_ID", Short: "Create a new API key", Args: exactly("MERCHANT_ID"),
		Long: "Create a new API key. The previous key stays valid until the next rotation. Older keys are revoked. " +
			"The API secret is shown only once, because it is not stored.",
	}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.withStore(cmd.Context(), func(c Config, s *store.Store) error {
			key, secret, err := merchants.NewKey(rand.Reader, args[0], now())
			if err != nil {
				return err
			}
			key, revoked, err := s.Merchants().Rotate(cmd.Context(), key)
			if err != nil {
				return ofMerchants(args[0], err)
			}
			p.wrote(c, "merchant "+args[0])
			made := client.APIKeyCreated{
				MerchantID: args[0], APIKey: key.Key, APISecret: secret, CreatedAt: key.CreatedAt, Revoked: []string{},
			}
			for _, k := range revoked {
				made.Revoked = append(made.Revoked, k.Key)
			}
			return f.print(p.out, made, func(w io.Writer) {
				keyTable(w, args[0], key.Key, secret)
				row(w, "revoked", strings.Join(made.Revoked, " "))
			})
		})
	}
	return c
}

// The method `wrote` prints the database to which a command has written. If the environment of the server differs from the
// environment of the command, the server may use another database.
func (p *program) wrote(c Config, object string) {
	p.say("tenantry: wrote %s to the database %s", object, store.Address(c.DatabaseURL))
}

// warnUnknown warns if BillingStack does not have the merchant. Users of the merchant cannot be subscribed until BillingStack has
// the merchant.
func (p *program) warnUnknown(ctx context.Context, c Config, s *store.Store, id string) {
	var known int
	var err error
	if c.BillingURL == "" {
		var found []billing.Merchant
		found, err = s.Billing().Merchants.List(ctx, "", []billing.Condition{{Field: "id", Value: id}})
		known = len(found)
	} else {
		var outside *billing.Client
		if outside, err = billing.New(billing.Config{URL: c.BillingURL, Timeout: 5 * time.Second}); err == nil {
			_, err = outside.Merchant(ctx, id)
			known = 1
		}
		if errors.Is(err, billing.ErrNotFound) {
			known, err = 0, nil
		}
	}
	switch {
	case err != nil:
		p.say("tenantry: cannot check whether BillingStack has merchant %s: %v", id, err)
	case known == 0:
		p.say("tenantry: BillingStack has no merchant %s yet", id)
	}
}

// ofMerchants adds an exit code to an error about a merchant.
func ofMerchants(id string, err error) error {
	if errors.Is(err, merchants.ErrNotFound) || errors.Is(err, merchants.ErrExists) {
		return exit(exitRefused, fmt.Errorf("merchant %s: %w", id, err))
	}
	return exit(exitUnreachable, err) // if err already has an exit code, exit keeps that code
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
