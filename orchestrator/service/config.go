package service

import "time"

// Config is the configuration of a service. Its creator must check the values, except for what only other services can refuse.
// Clouds are configured by Options.Cloud.
type Config struct {
	Listen  string // host:port of the API
	TLSCert string // PEM file; empty: plain HTTP
	TLSKey  string // PEM file; set if and only if TLSCert is

	DatabaseURL string // postgres://... or sqlite:PATH
	SecretKey   []byte // 32 bytes that seal users' tokens

	KeystoneConnections int // maximum of concurrent requests to one cloud's Keystone, at least 1

	BillingURL         string        // BillingStack's, with its version; empty: the embedded server
	BillingListen      string        // host:port of the embedded server, which does not authenticate its callers
	BillingConnections int           // maximum of concurrent requests to BillingStack, at least 1
	BillingTimeout     time.Duration // limit for one request to BillingStack; zero means 65 s

	CustomerRoles       []string // the roles that a user gets on the customer tenant
	SubscriptionRoles   []string // the same for the subscription tenant
	Domain              string   // name or id of the tenants' domain, for merchants without one of their own
	AdminRole           string   // the Keystone role that makes a user an operator
	AllowCloudAdminRole bool     // admin is allowed among the roles above, although it makes users admins of the whole cloud

	Lease       time.Duration // how long a silent replica keeps its runs; zero means 10 s
	LateWindow  time.Duration // how long after it was sent a request without an answer may still take effect; zero means 90 s
	Deadline    time.Duration // how long a run may work before it compensates; zero means 15 min
	GiveUpAfter time.Duration // how long a run may take, including waits for upstreams, before it compensates; zero means 24 h
	Poll        time.Duration // interval between polls for unannounced work; zero means 5 s
	Executors   int           // runs executed at once; zero means 64

	MaxLiveRuns int // limit of live runs for merchants without one of their own: further orders are refused
	Admissions  int // maximum of orders that are checked and accepted at once; zero means 256
}
