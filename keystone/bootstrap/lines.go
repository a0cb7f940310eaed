package bootstrap

// Lines returns the command lines of the openstack command that create the same objects as Apply, in the same order. The lines can be
// repeated. The line that creates the service user asks for the password.
func Lines(s Setup) []string {
	var lines []string
	for _, i := range (&Bootstrap{setup: s}).items() {
		lines = append(lines, i.line)
	}
	return lines
}

func (s Setup) lineOfRole(name string) string {
	if s.isRequired(name) {
		return openstack("role show", [][]string{{"-f", "value"}, {"-c", "id"}}, name)
	}
	return openstack("role create", [][]string{{"--or-show"}}, name)
}

func (s Setup) lineOfDomain(name string) string {
	if s.isRequiredDomain(name) {
		return openstack("domain show", [][]string{{"-f", "value"}, {"-c", "id"}}, name)
	}
	return openstack("domain create", [][]string{{"--or-show"}}, name)
}

// isRequiredDomain reports whether Keystone must have the domain already.
func (s Setup) isRequiredDomain(name string) bool { return name != s.Domain || isDomainID(name) }

func (s Setup) lineOfProject() string {
	return openstack("project create", [][]string{{"--or-show"}, {"--domain", s.UserDomain}}, s.Project)
}

func (s Setup) lineOfUser() string {
	return openstack("user create", [][]string{{"--or-show"}, {"--domain", s.UserDomain}, {"--password-prompt"}}, s.User)
}

func (s Setup) lineOfGrant(role string) string {
	to := [][]string{{"--user", s.User}, {"--user-domain", s.UserDomain}}
	if s.Persona == DomainManager {
		return openstack("role add", append(to, []string{"--domain", s.Domain}), role)
	}
	return openstack("role add", append(to, []string{"--project", s.Project}, []string{"--project-domain", s.UserDomain}), role)
}

func (s Setup) lineOfRegion() string {
	return openstack("region show", [][]string{{"-f", "value"}, {"-c", "region"}}, s.Region)
}

func (s Setup) lineOfService() string {
	return openstack("service list", [][]string{{"-f", "value"}, {"-c", "Type"}}) + " | grep -Fx -e " + Quote(s.Type) + " || " +
		openstack("service create", [][]string{{"--name", s.Name}, {"--description", description}, {"--enable"}}, s.Type)
}

func (s Setup) lineOfEndpoint(face, url string) string {
	return openstack("endpoint list", [][]string{{"--service", s.Type}, {"--interface", face}, {"--region", s.Region}, {"-f", "value"}, {"-c", "ID"}}) +
		" | grep . || " + openstack("endpoint create", [][]string{{"--region", s.Region}, {"--enable"}}, s.Type, face, url)
}

// The constant `description` is the description of Tenantry's service in the catalog.
const description = "Tenantry: subscriptions of BillingStack"
