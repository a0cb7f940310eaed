// Package stories tests the `tenantry` binary from outside. Each test runs the binary as an operator does, and calls it over HTTP
// as a portal does. The database is PostgreSQL or SQLite. Keystone is a real server or an in-memory one.
//
// The package has four kinds of tests. Stories, such as TestOneCallSubscribesAUserOnRealParts, follow a few orders from the call to
// the end of the run. One story, TestTheProcess, carries out docs/process.md. In TestPeopleUseTheConsoleOnRealParts, people use the
// console with a browser. The crash matrix (TestKilledAtEveryInstant, docs/crash-matrix.md) kills a replica at every instant of a run.
// Outage tests, such as TestAKeystoneThatIsOutOfOrderIsWaitedFor, stop one part of the installation for a while. The chaos test
// (TestChaos, docs/chaos.md) breaks replicas, PostgreSQL and Keystone at random times.
//
// A site is the installation that a test runs, with its database, upstreams and environment variables. If no other test uses the
// site's Keystone, package workflowstest checks the invariants at the end of the test.
//
// The unit tests of the commands and of the configuration are in cmd/tenantry.
package stories
