package main

import "time"

const (
	databaseExample = "postgres://tenantry@db.example.org/tenantry"
	listenExample   = "postgres://tenantry@db.example.org:5432/tenantry"
	secretExample   = "the output of: openssl rand -base64 32"
)

// The type `setting` is one setting of the server. The key is the setting's name in the file. The environment variable is the key
// in capitals, with the prefix TENANTRY_.
type setting struct {
	about
	unit, values string                  // copied from the setting's rule, for the documentation
	read         func(text string) error // parses the text into a field of the Config; the error contains no secret
	show         func() any              // returns the value in force, with secrets masked
}

// The type `about` has the names and texts that describe a setting.
type about struct {
	key       string
	fallback  string // text of the default; if "", the field keeps its zero value
	otherwise string // description of the default, if fallback is ""
	example   string
	meaning   string
}

// The method `settings` returns all settings in the order of the documentation. `make generate` writes docs/configuration.md from
// these settings.
func (c *Config) settings() []setting {
	return []setting{
		of(&c.Listen, address, about{
			key: "listen", fallback: "127.0.0.1:9292", example: "0.0.0.0:9292",
			meaning: "Address that the API listens on.",
		}),
		of(&c.TLSCert, file, about{
			key: "tls_cert", otherwise: "plain HTTP", example: "/etc/tenantry/tls.crt",
			meaning: "PEM file with the API's certificate chain. Without a certificate, the API accepts API keys and operators' tokens only from the same host.",
		}),
		of(&c.TLSKey, file, about{
			key: "tls_key", otherwise: "plain HTTP", example: "/etc/tenantry/tls.key",
			meaning: "PEM file with the private key of the certificate.",
		}),
		masked(of(&c.DatabaseURL, database, about{
			key: "database_url", otherwise: "`tenantry/tenantry.db` in `$XDG_DATA_HOME` or `~/.local/share`", example: databaseExample,
			meaning: "PostgreSQL database or SQLite file. Several replicas can share a PostgreSQL database. If the URL lists several hosts and does not set `target_session_attrs`, Tenantry uses the first host that accepts writes.",
		}), func() string { return maskURL(c.DatabaseURL) }),
		masked(of(&c.DatabaseListenURL, postgresURL, about{
			key: "database_listen_url", otherwise: "`database_url`", example: listenExample,
			meaning: "URL of the same database on PostgreSQL itself. Set this URL if `database_url` names a connection pooler that does not keep sessions, such as PgBouncer with `pool_mode=transaction`. Tenantry uses this URL for migrations, and for the messages between replicas.",
		}), func() string { return maskURL(c.DatabaseListenURL) }),
		masked(of(&c.SecretKey, key, about{
			key: "secret_key", otherwise: "with SQLite, a new key, which is stored in the file `PATH.key`", example: secretExample,
			meaning: "Key that encrypts users' tokens in the database. The key cannot be changed later.",
		}), func() string { return mask(c.SecretKey != nil) }),
		of(&c.KeystoneConnections, positive, about{
			key: "keystone_connections", fallback: "16", example: "16",
			meaning: "Maximum number of requests that a replica has in flight to the Keystone of a cloud.",
		}),
		of(&c.BillingURL, billingURL, about{
			key: "billing_url", otherwise: "the embedded BillingStack", example: "http://billing.example.org:9091/v2",
			meaning: "URL of BillingStack, with the version of its API.",
		}),
		of(&c.BillingListen, address, about{
			key: "billing_listen", fallback: "127.0.0.1:9091", example: "127.0.0.1:9091",
			meaning: "Address that the embedded BillingStack listens on. The embedded BillingStack does not authenticate its callers. An address that is not a loopback address needs `billing_remote: true`.",
		}),
		of(&c.BillingRemote, boolean, about{
			key: "billing_remote", fallback: "false", example: "true",
			meaning: "If `true`, `billing_listen` may be an address that other hosts can reach, and the embedded BillingStack also answers requests whose header `Host` is not a loopback name.",
		}),
		of(&c.BillingConnections, positive, about{
			key: "billing_connections", otherwise: "1 if `billing_url` is set, 64 for the embedded BillingStack", example: "1",
			meaning: "Maximum number of requests that a replica has in flight to BillingStack.",
		}),
		of(&c.CustomerRoles, roles, about{
			key: "customer_roles", fallback: "member,bs-admin", example: "member,bs-admin",
			meaning: "Roles that users get on the customer tenant. Each merchant can override these roles.",
		}),
		of(&c.SubscriptionRoles, roles, about{
			key: "subscription_roles", fallback: "member", example: "member",
			meaning: "Roles that users get on the subscription tenant. Each merchant can override these roles.",
		}),
		of(&c.Domain, text, about{
			key: "domain", fallback: "default", example: "customers",
			meaning: "Name or id of the Keystone domain of users and tenants. Each merchant can override this domain.",
		}),
		of(&c.AdminRole, text, about{
			key: "admin_role", fallback: "admin", example: "admin",
			meaning: "Keystone role that operators must have. Users must not get this role, or a role that implies it. The case of the name is ignored.",
		}),
		of(&c.AllowCloudAdminRole, boolean, about{
			key: "allow_cloud_admin_role", fallback: "false", example: "true",
			meaning: "Allows users to get the role `admin` and roles that imply `admin`.",
		}),
		of(&c.Lease, duration, about{
			key: "lease", fallback: "10s", example: "10s",
			meaning: "Time after which another replica takes over the runs of a replica that has died.",
		}),
		of(&c.LateWindow, duration, about{
			key: "late_window", fallback: "90s", example: "90s",
			meaning: "Time within which an upstream may still execute a request that got no answer. Choose a longer time than the time-outs of all proxies between Tenantry and its upstreams.",
		}),
		of(&c.Deadline, duration, about{
			key: "deadline", fallback: "15m", example: "15m",
			meaning: "Time after which an unfinished run is compensated. This limit excludes the time for which the run waits for an unavailable upstream.",
		}),
		of(&c.GiveUpAfter, duration, about{
			key: "give_up_after", fallback: "24h", example: "24h",
			meaning: "Time after which an unfinished run is compensated, even if an upstream was unavailable. This limit includes the time for which the run waits for an unavailable upstream, or for an older run with the same subject. If a person retries the run, this limit starts again.",
		}),
		of(&c.KeepTenant, duration, about{
			key: "keep_tenant", fallback: "168h", example: "168h",
			meaning: "Time for which a disabled subscription tenant is kept. During this time, the tenant can be restored. Afterwards, Tenantry removes the tenant when it is empty and has been disabled for at least 10 minutes.",
		}),
		of(&c.KeepBilling, duration, about{
			key: "keep_billing", fallback: "840h", example: "840h",
			meaning: "Time for which BillingStack keeps the records of a subscription tenant after this tenant was removed. During this time, BillingStack can make the last bill.",
		}),
		of(&c.ResourcesCloud, text, about{
			key: "resources_cloud", otherwise: "the default cloud's own credential", example: "tenantry-admin",
			meaning: "Entry in clouds.yaml with a credential for the default cloud. With this credential, Tenantry asks the cloud's services whether a tenant is empty. The credential must see the resources of all projects.",
		}),
		of(&c.EmptinessIgnore, roles, about{
			key: "emptiness_ignore", otherwise: "none", example: "dns,orchestration",
			meaning: "Types of services that Tenantry skips when it checks whether a tenant is empty. Tenantry can check only some types of services. If the catalog has a service that Tenantry can neither check nor skip, no tenant is removed.",
		}),
		of(&c.AuditEvery, interval, about{
			key: "audit_every", otherwise: "no automatic audits", example: "24h",
			meaning: "Interval between automatic audits. Each automatic audit covers everything. All replicas together start one audit in each interval.",
		}),
		of(&c.AuditCloud, text, about{
			key: "audit_cloud", otherwise: "the default cloud's own credential", example: "tenantry-reader",
			meaning: "Entry in clouds.yaml with a credential for the default cloud. Audits read Keystone with this credential. The credential needs no permission to write.",
		}),
		of(&c.MaxLiveRuns, positive, about{
			key: "max_live_runs", fallback: "1000", example: "1000",
			meaning: "Maximum number of runs in progress per merchant. Each merchant can override this limit. The API answers further orders with 429.",
		}),
		of(&c.LoginRate, positive, about{
			key: "login_rate", fallback: "10", example: "10",
			meaning: "Maximum number of logins and registrations per minute for one user name, and for one visitor of a portal. The limit for a merchant is 30 times as high. Each replica counts separately. The API answers further logins and registrations with 429.",
		}),
		of(&c.Meters, file, about{
			key: "meters", otherwise: "each meter is billed as the product with the meter's name", example: "/etc/tenantry/meters.yaml",
			meaning: "YAML file that maps the meters of Ceilometer to products in BillingStack: see \"Metered usage\" in docs/operations.md. The file is read when the service starts.",
		}),
		of(&c.Portals, file, about{
			key: "portals", otherwise: "no portals", example: "/etc/tenantry/portals.yaml",
			meaning: "YAML file with the merchants whose portals Tenantry serves at `/portal/MERCHANT`: see docs/portal.md. The file is read when the service starts.",
		}),
		of(&c.UsageSpool, file, about{
			key: "usage_spool", otherwise: "no spool", example: "/var/lib/tenantry/spool",
			meaning: "Folder in which the samples of Ceilometer wait while the database is down. Each replica needs a folder of its own, on a local disk. If there is no spool and the database is down, the API answers Ceilometer with 503, and Ceilometer drops the samples.",
		}),
		of(&c.UsageSpoolMiB, positive, about{
			key: "usage_spool_mib", fallback: "1024", example: "1024",
			meaning: "Maximum size of the files in `usage_spool`, in MiB. The clouds that send samples share this size equally.",
		}),
		of(&c.LogLevel, oneOf("debug", "info", "warn", "error"), about{
			key: "log_level", fallback: "info", example: "debug",
			meaning: "Lowest level of the log entries that are written.",
		}),
		of(&c.LogFormat, oneOf("json", "console"), about{
			key: "log_format", fallback: "json", example: "console",
			meaning: "Format of the log. The log is written to standard error.",
		}),
	}
}

// The function `of` makes a setting. The setting uses the rule r to parse its text, and stores the value in field.
func of[T any](field *T, r rule[T], a about) setting {
	return setting{
		about: a, unit: r.unit, values: r.values,
		read: func(text string) (err error) {
			*field, err = r.parse(text)
			return err
		},
		show: func() any {
			switch value := any(*field).(type) {
			case time.Duration:
				if value == 0 { // the setting has no default
					return ""
				}
				return value.String()
			default:
				return value
			}
		},
	}
}

// The function `masked` sets the function `s.show`, and returns s. The new function masks secrets.
func masked(s setting, show func() string) setting {
	s.show = func() any { return show() }
	return s
}
