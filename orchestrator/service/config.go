package service

import "time"

// Config is what an operator decides of a service. Whoever makes one sees to it that the values are valid, apart from what the
// outside world may refuse. The clouds are not here: Options.Cloud knows them.
type Config struct {
	Listen  string // host:port of the API
	TLSCert string // PEM file; empty: plain HTTP
	TLSKey  string // PEM file; given exactly when TLSCert is

	DatabaseURL string // postgres://... or sqlite:PATH
	SecretKey   []byte // 32 bytes, which users' tokens are sealed with

	KeystoneConnections int // requests to one cloud's Keystone at once, at least 1

	BillingURL         string        // BillingStack's, with its version; empty: the embedded server
	BillingListen      string        // host:port of the embedded server, which lets in whoever reaches it
	BillingConnections int           // requests to BillingStack at once, at least 1
	BillingTimeout     time.Duration // for one request to BillingStack; zero means 65 s

	CustomerRoles       []string // what a user gets on the customer tenant
	SubscriptionRoles   []string // and on the subscription tenant
	Domain              string   // of the tenants, where a merchant names no other: a name or an id
	AdminRole           string   // whoever has it in Keystone is an operator here
	AllowCloudAdminRole bool     // admin may be among the roles above, although it opens the whole cloud

	Lease       time.Duration // how long a replica that fell silent keeps its runs; zero means 10 s
	LateWindow  time.Duration // how long a request without an answer may still take effect; zero means 90 s
	Deadline    time.Duration // how long a run may work before it is compensated; zero means 15 min
	GiveUpAfter time.Duration // how long a run may also wait for an upstream; zero means 24 h
	Poll        time.Duration // interval between polls for unannounced work; zero means 5 s
	Executors   int           // runs executed at once; zero means 64

	MaxLiveRuns int // of a merchant that has no limit of its own: further orders are refused
	Admissions  int // orders that are checked and accepted at once; zero means 256
}
