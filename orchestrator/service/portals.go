package service

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/tenantry/tenantry/orchestrator/inprocess"
	"github.com/tenantry/tenantry/orchestrator/portal"
)

// readSites reads the file with the portals, if one is configured, and logs the number of portals.
func readSites(o Options) ([]portal.Site, error) {
	if o.Portals == "" {
		return nil, nil
	}
	sites, err := ReadPortals(o.Portals)
	if err == nil {
		o.Log.Info().Str("file", o.Portals).Int("portals", len(sites)).Msg("read the file of portals")
	}
	return sites, err
}

// ReadPortals reads the file at the path: see [portal.ReadSites]. The error joins all faults of the file. Each fault is a *ConfigurationError.
func ReadPortals(path string) ([]portal.Site, error) {
	sites, err := portal.ReadSites(path)
	return sites, inFile("portals", path, err)
}

// portalTime is the time limit for a call of a portal to the API. The API lets a call wait for a run for up to 30 s.
const portalTime = time.Minute

// newPortals returns the handler for the portals of all merchants. A portal calls the API in this process, as a program on this host would.
func newPortals(p parts, served http.Handler, sessions scs.CtxStore) (http.Handler, error) {
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1).String()
	over := inprocess.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = loopback // the API sees the portal as its caller, not the visitor: see X-Visitor-Address
		served.ServeHTTP(w, r)
	})}
	all := http.NewServeMux()
	for _, site := range p.sites {
		one, err := portal.New(portal.Options{
			Site: site, URL: "http://localhost", HTTP: &http.Client{Transport: over, Timeout: portalTime},
			Sessions: sessions, Now: p.Now, Log: p.Log,
		})
		if err != nil {
			return nil, err
		}
		all.Handle(portal.Path+site.Merchant+"/", one)
	}
	all.HandleFunc(portal.Path, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "There is no portal of this merchant.", http.StatusNotFound)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'") // a portal replaces it
		all.ServeHTTP(w, r)
	}), nil
}
