// Package stories tests the binary from outside. Each test builds `tenantry` once, runs it as an operator does, and calls it over
// HTTP as a portal does, beside a PostgreSQL or SQLite database and a Keystone, real or in memory.
//
// There are four kinds of tests:
//
//   - a story follows one order, or a few, from the call to the end of the run (TestOneCallSubscribesAUserOnRealParts);
//   - the crash matrix kills a replica at every instant of a run (TestKilledAtEveryInstant, docs/crash-matrix.md);
//   - other tests stop one part for a while: a replica, the disk, Keystone (TestPausedForLongerThanItsLeaseAReplicaWritesNothing);
//   - chaos stops, kills and fills up everything at random (TestChaos, docs/chaos.md).
//
// A site is the installation that a test runs: its database, its upstreams, and its environment. When a test ends that uses an
// in-memory Keystone or a Keystone of its own, package workflowstest checks the invariants.
//
// Unit tests of the commands and of the configuration are in package main.
package stories
