// Package keystonetest is an in-memory Keystone that serves Identity v3 and Identity v2.0 over HTTP, for tests and demonstrations.
//
// The package implements the part of Keystone 22 that Tenantry uses. It implements Identity v2.0 with the answers that were observed from
// Keystone Pike. All statuses and bodies are the same as in the real Keystone, even if they are unusual. Package conformance compares the
// in-memory Keystone with a real Keystone 22. The in-memory Keystone does not encrypt its secrets, and stores nothing on disk. It is
// designed for a hundred thousand projects and several hundred thousand role assignments.
package keystonetest

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// DefaultDomain is the id of the domain "Default", which is the only domain of a new Keystone.
const DefaultDomain = "default"

// Options configure a new Keystone. The zero value is valid.
type Options struct {
	// AdminPassword is the password of the user "admin". An empty AdminPassword means "secret". The user "admin" has the role
	// "admin" on the project "admin".
	AdminPassword string
	// TokenLifetime is the time from the login to the expiry of the token. An exchange of the token does not prolong this time.
	// Zero means one hour.
	TokenLifetime time.Duration
	// Now returns the current time; nil means time.Now.
	Now func() time.Time
	// If LooseNames is true, Keystone compares names, and the ids of domains, in the same way as a Keystone on MySQL. The usual collation of
	// MySQL ignores case and accents.
	LooseNames bool
	// If Pike is true, Keystone begins with the roles of Keystone Pike: "admin" and "_member_", without implied roles. AddProject and
	// TagProject then store the tags in the description, where clients of Identity v2.0 look for them: see [keystone.Describe].
	Pike bool
	// ListLimit is Keystone's option list_limit: the maximum length of the lists of projects, domains and users. A longer list is cut,
	// and the answer has the field "truncated". Zero means no limit.
	ListLimit int
	// PasswordRules are rules for passwords and logins. The zero value means no rules.
	PasswordRules PasswordRules
	// Random is the source of random ids and tokens; nil means crypto/rand.Reader. Random must be safe for concurrent use.
	Random io.Reader
}

// Keystone is an in-memory Keystone. A Keystone implements [http.Handler] and is safe for concurrent use.
type Keystone struct {
	lifetime time.Duration
	loose    bool // see Options.LooseNames
	pike     bool // see Options.Pike
	limit    int  // see Options.ListLimit
	rules    PasswordRules
	now      func() time.Time
	random   io.Reader
	mux      *http.ServeMux
	urls     struct{ public, admin string } // the addresses in the catalog of Identity v2.0; if empty, the address of the request

	mu          sync.Mutex
	domains     table[string, domain]
	users       table[string, user]
	groups      table[string, group]
	roles       table[string, role]
	projects    table[string, project]
	grants      table[grant, grant]
	credentials table[string, applicationCredential]
	implied     map[string][]string        // maps the id of a role to the ids of the roles that it implies directly
	members     map[string]map[string]bool // the ids of the users in each group
	tokens      map[string]*token
	passwordSet map[string]time.Time // the times of the last changes of passwords, by the id of the user
	sweepAt     int                  // expired tokens are dropped when the number of tokens reaches sweepAt

	usersByName    index[string] // the ids of users, by the normalized name (see the method plain)
	projectsByName index[string] // the ids of projects, by the normalized name
	children       index[string] // the ids of child projects, by the id of the parent project
	grantsOf       index[*grant] // the role assignments, by the id of the user or group
	grantsOn       index[*grant] // the role assignments, by the id of the project or domain
}

// New creates a Keystone with the objects that "keystone-manage bootstrap" of Keystone 22 creates: the domain "Default", the user "admin", the
// project "admin", and the roles "admin", "member" and "reader". Role "admin" implies "member", and "member" implies "reader". The
// user "admin" has role "admin" on the project and on the system.
func New(opts Options) *Keystone {
	k := &Keystone{
		lifetime: cmp.Or(opts.TokenLifetime, time.Hour),
		loose:    opts.LooseNames,
		pike:     opts.Pike,
		now:      opts.Now,
		limit:    opts.ListLimit,
		rules:    opts.PasswordRules,
		random:   opts.Random,
		implied:  map[string][]string{},
		members:  map[string]map[string]bool{},
		tokens:   map[string]*token{},

		passwordSet: map[string]time.Time{},

		usersByName:    index[string]{},
		projectsByName: index[string]{},
		children:       index[string]{},
		grantsOf:       index[*grant]{},
		grantsOn:       index[*grant]{},
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.random == nil {
		k.random = rand.Reader
	}
	k.mux = k.routes()

	k.domains.put(DefaultDomain, &domain{id: DefaultDomain, name: "Default", description: "The default domain", enabled: true})
	admin := k.addRoles(opts.Pike)
	project := k.addProject(&project{
		name: "admin", domain: DefaultDomain, description: "Bootstrap project for initializing the cloud.", enabled: true,
	})
	user := k.addUser(&user{name: "admin", domain: DefaultDomain, password: cmp.Or(opts.AdminPassword, "secret"), enabled: true})
	k.assign(grant{project: project.id, user: user.id, role: admin.id})
	k.assign(grant{system: true, user: user.id, role: admin.id})
	return k
}

// addRoles adds the roles that "keystone-manage bootstrap" creates, and returns role admin.
func (k *Keystone) addRoles(pike bool) *role {
	if pike {
		k.addRole("_member_", false)
		return k.addRole("admin", false)
	}
	reader := k.addRole("reader", true)
	member := k.addRole("member", true)
	admin := k.addRole("admin", true)
	k.implied[admin.id] = []string{member.id}
	k.implied[member.id] = []string{reader.id}
	return admin
}

// Start serves Keystone on a free port of the loopback interface until stop is called. The returned url ends in /v3.
func (k *Keystone) Start() (url string, stop func(), err error) {
	address, stop, err := serve(k)
	return address + "/v3", stop, err
}

// StartBoth serves Keystone on two free ports of the loopback interface until stop is called, like a Keystone with Identity v2.0. The
// url `public` leads to the public application. The url `admin` leads to the admin application, and the catalog contains it. Both urls
// end in /v2.0.
func (k *Keystone) StartBoth() (public, admin string, stop func(), err error) {
	admin, stopAdmin, err := serve(k)
	if err != nil {
		return "", "", nil, err
	}
	public, stopPublic, err := serve(k.Public())
	if err != nil {
		stopAdmin()
		return "", "", nil, err
	}
	public, admin = public+"/v2.0", admin+"/v2.0"
	k.mu.Lock()
	defer k.mu.Unlock()
	k.urls.public, k.urls.admin = public, admin
	return public, admin, func() { stopPublic(); stopAdmin() }, nil
}

// The function `serve` serves the handler on a free port of the loopback interface until stop is called.
func serve(h http.Handler) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the listener on the loopback interface has failed
		}
	}()
	stop = func() {
		_ = server.Close()
		<-done
	}
	return "http://" + listener.Addr().String(), stop, nil
}

// maxBody is Keystone's maximum size of the body of a request, in bytes.
const maxBody = 114688

// ServeHTTP serves Identity v3 under /v3, and the admin application of Identity v2.0 under /v2.0.
func (k *Keystone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.bounded(k.mux).ServeHTTP(w, r)
}

// The method `bounded` returns a handler that gives each request an id, and refuses a body that is too long.
func (k *Keystone) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Openstack-Request-Id", "req-"+k.uuid())
		if r.ContentLength > maxBody {
			w.Header().Set("Content-Type", "text/html; charset=UTF-8")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = fmt.Fprintf(w, "<html><title>413 Request Entity Too Large</title></html>")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// randomID returns a version 4 UUID without dashes, which is the format of Keystone's ids.
func (k *Keystone) randomID() string {
	b := k.randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return hex.EncodeToString(b)
}

func (k *Keystone) uuid() string {
	id := k.randomID()
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

func (k *Keystone) randomBytes(size int) []byte {
	b := make([]byte, size)
	if _, err := io.ReadFull(k.random, b); err != nil {
		panic(err) // Options.Random returned an error
	}
	return b
}
