package v3

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

// DefaultCloud is the cloud that the OS_* variables describe.
const DefaultCloud = "default"

// FromCloud reads the entry of a cloud in clouds.yaml and secure.yaml. Like the openstack command, FromCloud reads the file that
// OS_CLIENT_CONFIG_FILE names. If OS_CLIENT_CONFIG_FILE is not set, FromCloud searches the current directory, ~/.config/openstack
// and /etc/openstack. For [DefaultCloud], FromCloud calls [FromEnv].
func FromCloud(name string) (Config, error) {
	if name == DefaultCloud {
		return FromEnv()
	}
	return fromCloudsYAML(name)
}

// FromEnv reads the OS_* variables, like the openstack command. If OS_CLOUD is set, FromEnv instead reads the entry of clouds.yaml
// that OS_CLOUD names. FromEnv reports all faults of the variables in one error.
func FromEnv() (Config, error) {
	if name := os.Getenv("OS_CLOUD"); name != "" {
		return fromCloudsYAML(name)
	}
	var faults []error
	cfg := Config{URL: os.Getenv("OS_AUTH_URL"), Credential: credentialFromEnv()}
	if cfg.URL == "" {
		faults = append(faults, errors.New("OS_AUTH_URL is not set"))
	}
	if err := cfg.Credential.check(); err != nil {
		faults = append(faults, fmt.Errorf("OS_* variables: %w", err))
	}
	config, err := tlsFromEnv()
	if cfg.TLS = config; err != nil {
		faults = append(faults, err)
	}
	return cfg, errors.Join(faults...)
}

func credentialFromEnv() Credential {
	env := func(names ...string) string {
		for _, name := range names {
			if value := os.Getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	c := Credential{
		ApplicationCredentialID:     env("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialName:   env("OS_APPLICATION_CREDENTIAL_NAME"),
		ApplicationCredentialSecret: env("OS_APPLICATION_CREDENTIAL_SECRET"),

		UserID:         env("OS_USER_ID", "OS_USERID"),
		Username:       env("OS_USERNAME"),
		UserDomainID:   env("OS_USER_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID"),
		UserDomainName: env("OS_USER_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		Password:       env("OS_PASSWORD"),

		ProjectID:         env("OS_PROJECT_ID", "OS_TENANT_ID"),
		ProjectName:       env("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		ProjectDomainID:   env("OS_PROJECT_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID"),
		ProjectDomainName: env("OS_PROJECT_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		System:            env("OS_SYSTEM_SCOPE") == "all",
	}
	if c.UserDomainID+c.UserDomainName == "" {
		c.UserDomainID, c.UserDomainName = env("OS_DOMAIN_ID"), env("OS_DOMAIN_NAME")
	}
	switch {
	case c.ProjectName != "" && c.ProjectDomainID+c.ProjectDomainName == "":
		c.ProjectDomainID, c.ProjectDomainName = env("OS_DOMAIN_ID"), env("OS_DOMAIN_NAME")
	case c.ProjectID+c.ProjectName == "":
		c.DomainID, c.DomainName = env("OS_DOMAIN_ID"), env("OS_DOMAIN_NAME")
	}
	if c.ApplicationCredentialID != "" { // drop the password: if both are set, gophercloud logs in with the password
		c = Credential{
			ApplicationCredentialID: c.ApplicationCredentialID, ApplicationCredentialSecret: c.ApplicationCredentialSecret,
		}
	}
	return c
}

// tlsFromEnv reads OS_CACERT, OS_CERT, OS_KEY and OS_INSECURE.
func tlsFromEnv() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch strings.ToLower(os.Getenv("OS_INSECURE")) {
	case "1", "true", "yes":
		config.InsecureSkipVerify = true
	}
	if file := os.Getenv("OS_CACERT"); file != "" {
		pem, err := os.ReadFile(file) //nolint:gosec // the path is the operator's own setting
		if err != nil {
			return nil, fmt.Errorf("reading OS_CACERT: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading OS_CACERT: no certificate in %s", file)
		}
	}
	if file := os.Getenv("OS_CERT"); file != "" {
		pair, err := tls.LoadX509KeyPair(file, cmp.Or(os.Getenv("OS_KEY"), file))
		if err != nil {
			return nil, fmt.Errorf("reading OS_CERT and OS_KEY: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// quoted matches the parts of clouds.yaml that the YAML parser quotes in its error. These parts may contain a password.
var quoted = regexp.MustCompile("`[^`]*`")

func fromCloudsYAML(name string) (Config, error) {
	auth, _, config, err := clouds.Parse(clouds.WithCloudName(name))
	if err != nil {
		return Config{}, fmt.Errorf("reading cloud %q from clouds.yaml: %s", name, quoted.ReplaceAllString(err.Error(), "`...`"))
	}
	config.MinVersion = tls.VersionTLS12
	cfg := Config{URL: auth.IdentityEndpoint, TLS: config, Credential: Credential{
		Username:                    auth.Username,
		UserID:                      auth.UserID,
		UserDomainID:                auth.DomainID,
		UserDomainName:              auth.DomainName,
		Password:                    auth.Password,
		ApplicationCredentialID:     auth.ApplicationCredentialID,
		ApplicationCredentialName:   auth.ApplicationCredentialName,
		ApplicationCredentialSecret: auth.ApplicationCredentialSecret,
	}}
	if scope := auth.Scope; scope != nil {
		c := &cfg.Credential
		c.ProjectID, c.ProjectName, c.System = scope.ProjectID, scope.ProjectName, scope.System
		if c.ProjectName != "" {
			c.ProjectDomainID, c.ProjectDomainName = scope.DomainID, scope.DomainName
		} else {
			c.DomainID, c.DomainName = scope.DomainID, scope.DomainName
		}
	}
	if err := cfg.Credential.check(); err != nil {
		return Config{}, fmt.Errorf("reading cloud %q from clouds.yaml: %w", name, err)
	}
	return cfg, nil
}
