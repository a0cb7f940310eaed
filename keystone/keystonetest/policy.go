package keystonetest

// require refuses the call unless a rule of Keystone's policy allows it. Administrators may make every call. The parameter `others`
// lists the conditions for other users. At least one of these conditions must be true.
func (k *Keystone) require(c call, rule string, others ...bool) error {
	if c.token == nil {
		return unauthorized
	}
	for _, allowed := range others {
		if allowed {
			return nil
		}
	}
	if hasRole(k.tokenRoles(c.token), "admin") {
		return nil
	}
	return forbidden("You are not authorized to perform the requested action: identity:" + rule + ".")
}

// readsSystem reports whether the caller has role reader on the system.
func (k *Keystone) readsSystem(c call) bool {
	return c.token != nil && c.token.system && hasRole(k.tokenRoles(c.token), "reader")
}

// readsDomain reports whether the token of the caller is for this domain, with role reader.
func (k *Keystone) readsDomain(c call, domainID string) bool {
	return c.token != nil && c.token.domain != "" && c.token.domain == domainID && hasRole(k.tokenRoles(c.token), "reader")
}

// requireReader refuses the call unless the caller is an administrator, a reader of the system, or a reader of the domain that the
// caller's token is for. A list then has only what is in this domain: see [call.inReach].
func (k *Keystone) requireReader(c call, rule string) error {
	return k.require(c, rule, k.readsSystem(c), c.token != nil && k.readsDomain(c, c.token.domain))
}

// inReach reports whether an object in this domain may be in a list. For the token of a domain, even that of an administrator, Keystone
// leaves the objects of other domains out of its lists, and does not say so.
func (c call) inReach(domainID string) bool {
	return c.token.domain == "" || c.token.domain == domainID
}
