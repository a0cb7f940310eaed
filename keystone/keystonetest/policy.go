package keystonetest

// The method `require` returns an error if the policy rule does not allow the call. Administrators may make every call. Any other user may
// make the call if at least one of the conditions in `others` is true.
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

// readsDomain reports whether the caller's token is scoped to this domain, and has role reader.
func (k *Keystone) readsDomain(c call, domainID string) bool {
	return c.token != nil && c.token.domain != "" && c.token.domain == domainID && hasRole(k.tokenRoles(c.token), "reader")
}

// requireReader allows the call if the caller is an administrator, a reader of the system, or a reader of the domain to which the
// caller's token is scoped. With a domain token, a list contains only the objects of this domain: see [call.inReach].
func (k *Keystone) requireReader(c call, rule string) error {
	return k.require(c, rule, k.readsSystem(c), c.token != nil && k.readsDomain(c, c.token.domain))
}

// inReach reports whether a list may contain an object of this domain. If the caller's token is scoped to a domain, Keystone omits the
// objects of all other domains from its lists, even for an administrator. The answer does not show that objects are omitted.
func (c call) inReach(domainID string) bool {
	return c.token.domain == "" || c.token.domain == domainID
}
