package service

import "time"

// Setting is a setting of the service as operators see it.
type Setting struct {
	Key, Variable string // the names in the file of settings and in the environment
	Value         string // the value in force; a secret is masked
	Source        Source
	File          string // the file, and the line in it, if Source is SourceFile
	Default       string // the default, or words that describe it
	Meaning       string
}

// Source is the place that a setting comes from.
type Source string

// The values of Source.
const (
	SourceDefault  Source = "default"
	SourceFile     Source = "file"
	SourceVariable Source = "variable"
)

// Config is the configuration of a service. The code that creates a Config must check all values that can be checked without
// another service. Clouds are configured by Options.Cloud.
type Config struct {
	Listen  string // host:port of the API
	TLSCert string // PEM file of the API's certificate; empty means plain HTTP
	TLSKey  string // PEM file of the certificate's private key; required if TLSCert is set

	DatabaseURL       string // postgres://... or sqlite:PATH
	DatabaseListenURL string // postgres://... of PostgreSQL itself, if DatabaseURL names a connection pooler
	SecretKey         []byte // key of 32 bytes that seals users' tokens

	KeystoneConnections int // maximum number of concurrent requests to one cloud's Keystone, at least 1

	BillingURL         string        // URL of BillingStack, with the API version; empty means the embedded BillingStack
	BillingListen      string        // host:port of the embedded BillingStack, which does not authenticate its callers
	BillingRemote      bool          // if true, BillingListen may be an address that other hosts can reach
	BillingConnections int           // maximum number of concurrent requests to BillingStack, at least 1
	BillingTimeout     time.Duration // time limit for one request to BillingStack; zero means 65 s

	CustomerRoles       []string // the roles that a user gets on the customer tenant
	SubscriptionRoles   []string // the roles that a user gets on the subscription tenant
	Domain              string   // name or id of the domain in which tenants are created; a merchant may have another domain
	AdminRole           string   // the Keystone role that makes a user an operator; the two lists of roles must not contain it
	AllowCloudAdminRole bool     // if true, the two lists of roles may contain admin, which makes users admins of the whole cloud

	Lease       time.Duration // time without a renewal after which a replica loses its runs; zero means 10 s
	LateWindow  time.Duration // maximum time between an unanswered request and its effect; zero means 90 s
	Deadline    time.Duration // maximum working time of a run; a run that takes longer is compensated or held; zero means 15 min
	GiveUpAfter time.Duration // maximum time of a run, with all waits; a run that takes longer is compensated or held; zero means 24 h
	Poll        time.Duration // interval between polls for work that no message announced; zero means 5 s
	Executors   int           // maximum number of runs that are executed at once; zero means 64

	ResourcesCloud  string   // cloud with the credential for asking the default cloud's services for resources; empty: the default cloud
	EmptinessIgnore []string // service types that are not asked for resources

	AuditEvery time.Duration // interval between the audits that the service starts itself; zero means none
	AuditCloud string        // cloud with the credential for reading the default cloud's Keystone in audits; empty: the default cloud

	KeepTenant  time.Duration // time for which an ended subscription can be restored; zero means 7 days
	KeepBilling time.Duration // time for which BillingStack keeps a subscription after the removal of the subscription's tenant; zero means 35 days

	Meters        string // YAML file that says how the usage of meters is billed; empty: each meter is billed as the product with its name
	UsageSpool    string // folder in which samples wait while the database is down; empty: there is no spool
	UsageSpoolMiB int    // maximum size of the files in UsageSpool, in MiB; zero means 1024

	Portals string // YAML file with the merchants' portals; empty: there are none

	MaxLiveRuns int // maximum number of live runs of a merchant that has no maximum of its own; further orders are refused
	Admissions  int // maximum number of orders that are checked and accepted at once; zero means 384
	LoginRate   int // maximum number of logins and registrations per minute for one name, and for one visitor of a portal; zero means 10
}
