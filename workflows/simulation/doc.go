// Package simulation runs whole installations of Tenantry in one process on simulated time. A world consists of replicas, a database,
// Keystone, BillingStack, portals and operators. Each replica has an engine, steps and an API. In some worlds, a vandal damages objects
// directly in Keystone and BillingStack, and an operator repairs these objects. In other worlds, portals also register users, and an
// administrator creates users with the same names. A seed determines the plan of a world, and the plan determines everything that happens
// in that world. Therefore, if a seed violates an invariant, every replay of this seed violates the invariant too.
package simulation
