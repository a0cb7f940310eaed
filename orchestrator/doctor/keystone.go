package doctor

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// keystoneTime is the time limit of each request to Keystone.
const keystoneTime = 10 * time.Second

func keystoneSettings(_ context.Context, x *examination) []Line {
	var err error
	if x.config, err = x.Cloud(merchants.DefaultCloud); err == nil {
		x.keystone.next = conn.NewTransport(x.config.TLS)
		x.config.Base = &x.keystone
		x.cloud, err = x.client(x.config)
	}
	if err != nil {
		return []Line{fail(instruction("set the OS_* variables, or OS_CLOUD and clouds.yaml, as for the openstack command"), "%s", oneLine(err))}
	}
	return []Line{ok("%s at %s", x.config.Credential, x.config.URL)}
}

// The method `client` returns a client of a cloud's Keystone. The client refuses all writes.
func (x *examination) client(c conn.Config) (keystone.Cloud, error) {
	c.Timeout, c.BulkTimeout = keystoneTime, keystoneTime
	c.OperatorRole, c.AllowAdminRole = x.AdminRole, x.AllowCloudAdminRole
	return clouds.Open(c)
}

// ussuri is the minor version of the Identity API that all releases of Keystone since Ussuri (2020) have.
const ussuri = 14

func keystoneAnswers(ctx context.Context, x *examination) []Line {
	version, err := x.cloud.Version(ctx)
	e, answered := errors.AsType[*upstream.Error](err)
	switch {
	case answered && e.Status != 0 && proxyFor(x.config.URL) != "": // perhaps the proxy has answered
		return []Line{fail(keystoneAt(x.config.URL).fix(err), "%s: %s", x.config.URL, service.Reason(err))}
	case answered && e.Status >= http.StatusInternalServerError:
		return []Line{fail(instruction("look at the logs of Keystone and of the proxy in front of it, and start Keystone again"),
			"%s answers, but fails: %s", x.config.URL, service.Reason(err))}
	case answered && (e.Status != 0 || errors.Is(err, conn.ErrIncomplete)):
		return []Line{fail(instruction("set OS_AUTH_URL to the address of Keystone's Identity API, such as http://keystone.example.org:5000/v3"),
			"%s is not the address of an Identity API: %s", x.config.URL, service.Reason(err))}
	case err != nil:
		return []Line{fail(keystoneAt(x.config.URL).fix(err), "%s: %s", x.config.URL, service.Reason(err))}
	}
	if minor, isV3 := strings.CutPrefix(version, "v3."); !isV3 {
		return []Line{warn(instruction("upgrade Keystone, and use Identity v3"),
			"Identity %s: vulnerabilities in releases of Keystone with this version are no longer fixed", version)}
	} else if n, err := strconv.Atoi(minor); err == nil && n < ussuri {
		return []Line{warn(instruction("upgrade Keystone"), "Identity %s: this Keystone is older than Ussuri (2020), and its vulnerabilities are no longer fixed", version)}
	}
	return []Line{ok("Identity %s; Keystone does not show its release, so its known vulnerabilities are not assessed", version)}
}

// keystoneAt describes the Keystone of the default cloud.
func keystoneAt(address string) server {
	return server{"Keystone", address, "OS_AUTH_URL", "OS_CACERT", true}
}

func keystoneTLS(_ context.Context, x *examination) []Line {
	lines := x.keystone.transport(x.config.URL, "OS_AUTH_URL")
	if t := x.config.TLS; t != nil && t.InsecureSkipVerify && strings.HasPrefix(x.config.URL, "https:") {
		lines = append(lines, warn(instruction("remove OS_INSECURE, and set OS_CACERT to a PEM file with the authority's certificate"),
			"the certificate of Keystone is not checked, so another server can pretend to be Keystone and get the password"))
	}
	return lines
}

func clockOfKeystone(ctx context.Context, x *examination) []Line {
	for range 3 { // the answers arrive in different parts of a second, so together they show the difference more exactly
		if _, err := x.cloud.Version(ctx); err != nil {
			break
		}
	}
	return x.keystone.clock.line("Keystone")
}
