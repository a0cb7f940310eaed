// Package simulation runs whole installations of Tenantry in one process on simulated time: replicas with engine, steps and API,
// their database, Keystone and BillingStack, portals and operators. A seed determines the plan of a world, and the plan all that
// happens in it. A seed that violates an invariant therefore does so again.
package simulation
