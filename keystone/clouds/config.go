package clouds

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// DefaultCloud is the name of the cloud that the OS_* variables describe.
const DefaultCloud = "default"

// FromCloud reads the entry of a cloud in clouds.yaml in the same way as the openstack command. FromCloud merges the entry with
// secure.yaml, the vendor's profile in clouds-public.yaml, and the values of a region. FromCloud searches the current directory,
// ~/.config/openstack and /etc/openstack. The variables OS_CLIENT_CONFIG_FILE and OS_CLIENT_SECURE_FILE can contain the paths of a
// clouds.yaml and a secure.yaml. FromCloud tries these paths first. OS_REGION_NAME chooses the region if the entry has a region with this
// name. Other OS_* variables are not read, because they describe [DefaultCloud]. For DefaultCloud, FromCloud calls [FromEnv]. An error
// names the file, the cloud and the key.
func FromCloud(name string) (conn.Config, error) {
	if name == DefaultCloud {
		return FromEnv()
	}
	entry, err := readCloud(name, os.Getenv("OS_REGION_NAME"), false)
	if err != nil {
		return conn.Config{}, err
	}
	cfg, err := settingsOf(entry.values, nil).config(entry.label)
	return cfg, entry.fault(errors.Join(entry.unknownVendor(cfg), err))
}

// FromEnv reads the OS_* variables in the same way as the openstack command. If OS_CLOUD names an entry of clouds.yaml, FromEnv also reads
// this entry, and merges the variables and the entry. FromEnv reports all faults in one error.
func FromEnv() (conn.Config, error) {
	name := os.Getenv("OS_CLOUD")
	if name == "" {
		cfg, err := settingsOf(nil, variables()).config(variable)
		if err != nil {
			err = fmt.Errorf("OS_* variables: %w", err)
		}
		return cfg, err
	}
	entry, err := readCloud(name, os.Getenv("OS_REGION_NAME"), true)
	if err != nil {
		return conn.Config{}, err
	}
	cfg, err := settingsOf(entry.values, variables()).config(entry.label)
	return cfg, entry.fault(errors.Join(entry.unknownVendor(cfg), err))
}

// unknownVendor returns an error if the address of Keystone is missing, and the entry names a vendor whose profile was not found.
func (e cloudEntry) unknownVendor(cfg conn.Config) error {
	if e.vendor == "" || cfg.URL != "" {
		return nil
	}
	return fmt.Errorf("clouds-public.yaml has no profile %q", e.vendor)
}

// The method `label` returns the name of a setting in clouds.yaml. The function `variable` returns the name of the setting's environment
// variable. Error texts contain these names.
func (e cloudEntry) label(key string) string {
	if slices.Contains(outsideAuth, key) {
		return key
	}
	return "auth." + key
}

func variable(key string) string { return "OS_" + strings.ToUpper(key) }

// outsideAuth lists the keys that belong in the entry of a cloud, but outside of the entry's field `auth`.
var outsideAuth = []string{
	"auth_type", "identity_api_version", "identity_endpoint_override", "region_name", "default_domain", "cacert", "cert", "key", "insecure", "verify",
}

// insideAuth lists the keys that belong in the field `auth`. The openstack command also accepts these keys outside of `auth`.
var insideAuth = []string{
	"auth_url", "username", "user_name", "user_id", "user_domain_id", "user_domain_name", "password", "project_id", "project_name",
	"tenant_id", "tenant_name", "project_domain_id", "project_domain_name", "domain_id", "domain_name", "default_domain_id",
	"default_domain_name", "system_scope", "application_credential_id", "application_credential_name", "application_credential_secret",
}

// The function `variables` returns the settings in the OS_* variables. It skips empty variables.
func variables() settings {
	s := settings{}
	for _, key := range slices.Concat(outsideAuth, insideAuth) {
		s.set(key, os.Getenv(variable(key)))
	}
	s.set("user_id", cmp.Or(s["user_id"], os.Getenv("OS_USERID")))
	return s
}

// The type `settings` contains the settings of a cloud, by key. No value is empty.
type settings map[string]string

func (s settings) set(key, value string) {
	if value != "" {
		s[key] = value
	}
}

// settingsOf merges the entry of a cloud with the variables in the same way as the openstack command. If several places contain a key, the
// first place wins. For keys of projects and domains, the order is: the field `auth`, the variable, the entry outside of `auth`. For all
// other keys, the order is: the variable, the entry outside of `auth`, the field `auth`.
func settingsOf(entry mapping, variables settings) settings {
	s := settings{}
	auth, _ := entry["auth"].(mapping)
	for _, key := range outsideAuth {
		s.set(key, cmp.Or(variables[key], text(entry[key])))
	}
	for _, key := range insideAuth {
		values := []string{variables[key], text(entry[key]), text(auth[key])}
		if strings.HasPrefix(key, "project_") || strings.HasPrefix(key, "tenant_") || strings.Contains(key, "domain_") &&
			!strings.HasPrefix(key, "default_") {
			values = []string{text(auth[key]), variables[key], text(entry[key])}
		}
		s.set(key, cmp.Or(values...))
	}
	s.set("username", cmp.Or(s["username"], s["user_name"]))
	s.set("project_id", cmp.Or(s["project_id"], s["tenant_id"]))
	s.set("project_name", cmp.Or(s["project_name"], s["tenant_name"]))
	s.domains()
	return s
}

// The method `domains` sets the domain of the user if it is missing, and the domain of the project if it is missing. If the settings name a
// project, the settings domain_id and domain_name are the defaults for both domains. Otherwise, domain_id and domain_name are the scope,
// and `domains` keeps them.
func (s settings) domains() {
	fill := func(key, value string) { s.set(key, cmp.Or(s[key], value)) }
	if s["project_id"]+s["project_name"] != "" {
		for _, field := range []string{"domain_id", "domain_name"} {
			fill("user_"+field, s[field])
			fill("project_"+field, s[field])
			delete(s, field)
		}
	}
	if strings.HasPrefix(s["auth_type"], "v3application") {
		return
	}
	for _, of := range []string{"user_", "project_"} {
		if s["identity_api_version"] == "3" && s[of+"domain_id"]+s[of+"domain_name"] == "" {
			s.set(of+"domain_id", cmp.Or(os.Getenv("OS_DEFAULT_DOMAIN"), "default"))
		}
		if s["auth_type"] != "v3password" {
			fill(of+"domain_id", s["default_domain_id"])
			fill(of+"domain_name", s["default_domain_name"])
		}
	}
}

// The method `config` returns the configuration, and all faults in one error. The parameter `label` is a function that returns the
// name of a setting for error texts.
func (s settings) config(label func(key string) string) (conn.Config, error) {
	f := &faults{label: label}
	version := s.version(f)
	s.need(f, "auth_url")
	for _, key := range []string{"auth_url", "identity_endpoint_override"} {
		if s[key] != "" {
			_, err := conn.Endpoint(s[key], paths[version])
			f.add(key, err)
		}
	}
	c := conn.Credential{
		Username: s["username"], UserID: s["user_id"], UserDomainID: s["user_domain_id"], UserDomainName: s["user_domain_name"],
		Password:  s["password"],
		ProjectID: s["project_id"], ProjectName: s["project_name"],
		ProjectDomainID: s["project_domain_id"], ProjectDomainName: s["project_domain_name"],
		DomainID: s["domain_id"], DomainName: s["domain_name"], System: s["system_scope"] == "all",
	}
	if version == "2.0" {
		c = s.credential2(c, f)
	} else {
		c = s.credential3(c, f)
	}
	tls, err := s.tls(label)
	cfg := conn.Config{
		URL: s["auth_url"], Version: version, Credential: c, AdminURL: s["identity_endpoint_override"], Region: s["region_name"], TLS: tls,
	}
	if version == "3" {
		cfg.AdminURL, cfg.Region = "", ""
	}
	if len(f.all) == 0 {
		_, invalid := Open(cfg)
		f.add("", invalid)
	}
	return cfg, errors.Join(append(f.all, err)...)
}

// The variable `paths` contains the last segment of the API's address for each Identity version.
var paths = map[string]string{"3": "v3", "2.0": "v2.0"}

// The method `version` returns the Identity version: "3" or "2.0". Tenantry never guesses the version from the address.
func (s settings) version(f *faults) string {
	switch version := s["identity_api_version"]; {
	case version == "2" || version == "2.0":
		return "2.0"
	case version != "" && version != "3" && !strings.HasPrefix(version, "3."):
		f.addf("identity_api_version", "%q is not supported: use 3 or 2.0", version)
	}
	return "3"
}

// The type `faults` collects the faults of the settings.
type faults struct {
	label func(key string) string
	all   []error
}

// The method `add` adds a fault of a setting, unless err is nil. The key is empty if the text already names the setting.
func (f *faults) add(key string, err error) {
	if err != nil && key != "" {
		err = fmt.Errorf("%s: %w", f.label(key), err)
	}
	if err != nil {
		f.all = append(f.all, err)
	}
}

func (f *faults) addf(key, format string, args ...any) {
	f.all = append(f.all, fmt.Errorf("%s "+format, append([]any{f.label(key)}, args...)...))
}

// The method `need` adds a fault if none of the keys is set.
func (s settings) need(f *faults, keys ...string) {
	names := make([]string, len(keys))
	for i, key := range keys {
		if s[key] != "" {
			return
		}
		names[i] = f.label(key)
	}
	f.all = append(f.all, errors.New(strings.Join(names, " or ")+" is not set"))
}

// credential3 checks the credential for Identity v3, and returns it without the fields that Keystone does not need.
func (s settings) credential3(c conn.Credential, f *faults) conn.Credential {
	byApplication := s["application_credential_id"] != ""
	switch s["auth_type"] {
	case "", "password", "v3password":
	case "v3applicationcredential":
		byApplication = true
	default:
		f.addf("auth_type", "%q is not supported: use password, v3password or v3applicationcredential", s["auth_type"])
	}
	if byApplication {
		s.need(f, "application_credential_id", "application_credential_name")
		s.need(f, "application_credential_secret")
		user := c // with the name of an application credential, Keystone also needs the user
		c = conn.Credential{ApplicationCredentialID: s["application_credential_id"], ApplicationCredentialSecret: s["application_credential_secret"]}
		if c.ApplicationCredentialID == "" {
			c.ApplicationCredentialName = s["application_credential_name"]
			c.Username, c.UserID, c.UserDomainID, c.UserDomainName = user.Username, user.UserID, user.UserDomainID, user.UserDomainName
		}
	} else {
		s.need(f, "password")
	}
	if c.ApplicationCredentialID == "" {
		s.need(f, "user_id", "username")
		if c.UserID == "" {
			s.need(f, "user_domain_id", "user_domain_name")
		}
	}
	if c.ProjectID == "" && c.ProjectName != "" {
		s.need(f, "project_domain_id", "project_domain_name")
	}
	return c
}

// credential2 checks the credential for Identity v2.0: a user with a password, and a project. Identity v2.0 has no application credentials,
// no other scopes, and only the domain "default".
func (s settings) credential2(c conn.Credential, f *faults) conn.Credential {
	switch s["auth_type"] {
	case "", "password", "v2password":
	default:
		f.addf("auth_type", "%q is not supported with Identity v2.0: use password or v2password", s["auth_type"])
	}
	for _, key := range []string{"application_credential_id", "application_credential_name", "system_scope", "domain_id", "domain_name"} {
		if s[key] != "" {
			f.addf(key, "cannot be used with Identity v2.0: set a user, a password and a project")
		}
	}
	for _, key := range []string{"user_domain_id", "user_domain_name", "project_domain_id", "project_domain_name"} {
		if s[key] != "" && !strings.EqualFold(s[key], keystone.DefaultDomain.ID) {
			f.addf(key, "must be %q or not set, because Identity v2.0 has no other domain", keystone.DefaultDomain.ID)
		}
	}
	s.need(f, "user_id", "username")
	s.need(f, "password")
	s.need(f, "project_id", "project_name")
	return conn.Credential{
		Username: c.Username, UserID: c.UserID, Password: c.Password, ProjectID: c.ProjectID, ProjectName: c.ProjectName,
	}
}

// The method `tls` reads the files of the settings cacert, cert and key.
func (s settings) tls(label func(key string) string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch strings.ToLower(s["insecure"]) {
	case "1", "true", "yes":
		config.InsecureSkipVerify = true
	}
	if strings.EqualFold(s["verify"], "false") {
		config.InsecureSkipVerify = true
	}
	if file := s["cacert"]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", label("cacert"), err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading %s: no certificate in %s", label("cacert"), file)
		}
	}
	if file := s["cert"]; file != "" {
		pair, err := tls.LoadX509KeyPair(file, cmp.Or(s["key"], file))
		if err != nil {
			return nil, fmt.Errorf("reading %s and %s: %w", label("cert"), label("key"), err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
