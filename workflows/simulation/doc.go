// Package simulation runs whole installations of Tenantry in one process on simulated time. A world has replicas with engine,
// steps and API, a database, Keystone, BillingStack, portals and operators. A seed determines the plan of a world, and the plan
// determines everything that happens in that world. Therefore a seed that violates an invariant violates it in every replay.
package simulation
