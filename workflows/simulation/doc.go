// Package simulation runs whole installations of Tenantry in one process on simulated time: replicas with engine, steps
// and API, their database, Keystone and BillingStack, portals and operators. Everything that happens in one follows from
// its plan, and the plan from a seed: a seed that breaks a promise breaks it again.
package simulation
