package api

import (
	"context"
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/inprocess"
)

// LocalTransport returns a transport that passes requests to a handler of [New] in this process, without a network. The caller of these
// requests counts as an operator, and needs no credential. A user who can open the handler's database can read and change everything in it
// anyway. Actions are recorded as "local:USER", with the name of the operating-system user. The transport passes the user in a context
// value that no other code can set. Therefore, a request that arrives at a listener never counts as a local request.
func LocalTransport(h http.Handler, user string) http.RoundTripper {
	return inprocess.Transport{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), localKey{}, user)))
	})}
}

// localKey is the key of the context value with the operating-system user.
type localKey struct{}

func localUser(ctx context.Context) (user string, ok bool) {
	user, ok = ctx.Value(localKey{}).(string)
	return user, ok
}
