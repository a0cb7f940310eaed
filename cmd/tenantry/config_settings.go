package main

import "time"

const (
	databaseExample = "postgres://tenantry@db.example.org/tenantry"
	secretExample   = "the output of: openssl rand -base64 32"
)

// setting is one key of the file. Its variable is the key in capitals with the prefix TENANTRY_.
type setting struct {
	about
	unit, values string                  // of its rule
	read         func(text string) error // sets a field of the Config; its error contains no secret
	show         func() any              // the value in force, with secrets masked
}

// about describes a setting.
type about struct {
	key       string
	fallback  string // the default, as text; "" means the field's zero value
	otherwise string // the default in words, if fallback is ""
	example   string
	meaning   string
}

// settings returns all settings in the order in which they are shown. docs/configuration.md is made from them.
func (c *Config) settings() []setting {
	return []setting{
		of(&c.Listen, address, about{
			key: "listen", fallback: "127.0.0.1:9292", example: "0.0.0.0:9292",
			meaning: "Address that the API listens on.",
		}),
		of(&c.TLSCert, file, about{
			key: "tls_cert", otherwise: "plain HTTP", example: "/etc/tenantry/tls.crt",
			meaning: "PEM file with the API's certificate chain. Without it, API keys are accepted from the same host only.",
		}),
		of(&c.TLSKey, file, about{
			key: "tls_key", otherwise: "plain HTTP", example: "/etc/tenantry/tls.key",
			meaning: "PEM file with the certificate's key.",
		}),
		masked(of(&c.DatabaseURL, database, about{
			key: "database_url", otherwise: "`tenantry/tenantry.db` in `$XDG_DATA_HOME` or `~/.local/share`", example: databaseExample,
			meaning: "PostgreSQL database, which several replicas may share, or SQLite file.",
		}), func() string { return maskURL(c.DatabaseURL) }),
		masked(of(&c.SecretKey, key, about{
			key: "secret_key", otherwise: "with SQLite, a new key in the database's file with `.key` appended", example: secretExample,
			meaning: "Seals users' tokens while their runs need them. It cannot be changed later.",
		}), func() string { return mask(c.SecretKey != nil) }),
		of(&c.KeystoneConnections, positive, about{
			key: "keystone_connections", fallback: "16", example: "16",
			meaning: "Maximum of requests in flight to each cloud's Keystone, per replica.",
		}),
		of(&c.BillingURL, billingURL, about{
			key: "billing_url", otherwise: "the embedded BillingStack", example: "http://billing.example.org:9091/v2",
			meaning: "BillingStack's address with its version.",
		}),
		of(&c.BillingListen, address, about{
			key: "billing_listen", fallback: "127.0.0.1:9091", example: "127.0.0.1:9091",
			meaning: "Address that the embedded BillingStack listens on. It does not authenticate its callers.",
		}),
		of(&c.BillingConnections, positive, about{
			key: "billing_connections", otherwise: "1 with `billing_url`, 64 for the embedded BillingStack", example: "1",
			meaning: "Maximum of requests in flight to BillingStack, per replica.",
		}),
		of(&c.CustomerRoles, roles, about{
			key: "customer_roles", fallback: "member,bs-admin", example: "member,bs-admin",
			meaning: "Roles that users get on the customer tenant. A merchant may have others.",
		}),
		of(&c.SubscriptionRoles, roles, about{
			key: "subscription_roles", fallback: "member", example: "member",
			meaning: "Roles that users get on the subscription tenant. A merchant may have others.",
		}),
		of(&c.Domain, text, about{
			key: "domain", fallback: "default", example: "customers",
			meaning: "Domain of users and tenants, by name or id. A merchant may have another.",
		}),
		of(&c.AdminRole, text, about{
			key: "admin_role", fallback: "admin", example: "admin",
			meaning: "Keystone role that makes its bearer an operator.",
		}),
		of(&c.AllowCloudAdminRole, boolean, about{
			key: "allow_cloud_admin_role", fallback: "false", example: "true",
			meaning: "Accepts `admin`, and roles that imply it, as roles of users.",
		}),
		of(&c.Lease, duration, about{
			key: "lease", fallback: "10s", example: "10s",
			meaning: "Time after which another replica takes over the runs of one that ended.",
		}),
		of(&c.LateWindow, duration, about{
			key: "late_window", fallback: "90s", example: "90s",
			meaning: "Time for which a request without an answer may still take effect. It should exceed the time-outs of all proxies on the way.",
		}),
		of(&c.Deadline, duration, about{
			key: "deadline", fallback: "15m", example: "15m",
			meaning: "Time that a run may work before it is compensated. Waiting for an upstream that is down does not count.",
		}),
		of(&c.GiveUpAfter, duration, about{
			key: "give_up_after", fallback: "24h", example: "24h",
			meaning: "Time, including outages, after which a run that has not finished is compensated.",
		}),
		of(&c.MaxLiveRuns, positive, about{
			key: "max_live_runs", fallback: "1000", example: "1000",
			meaning: "Maximum of runs in progress of a merchant without a limit of its own. Further orders are answered 429.",
		}),
		of(&c.LogLevel, oneOf("debug", "info", "warn", "error"), about{
			key: "log_level", fallback: "info", example: "debug",
			meaning: "Lowest level that is logged.",
		}),
		of(&c.LogFormat, oneOf("json", "console"), about{
			key: "log_format", fallback: "json", example: "console",
			meaning: "Format of the log, which goes to standard error.",
		}),
	}
}

// of returns the setting that sets field by the rule.
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
				return value.String()
			default:
				return value
			}
		},
	}
}

// masked returns the setting with another show.
func masked(s setting, show func() string) setting {
	s.show = func() any { return show() }
	return s
}
