package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/loginrate"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// Options configures the API. All fields are required, except Workflows, Settings, Admissions, Logins, Heartbeat, ScopedTokens, Ready and
// KeystoneURL.
type Options struct {
	Runs    saga.Reader
	Starter saga.Starter
	Actions saga.Actions
	// Workflows are the workflows of the runs. Their texts are a part of explanations: they say what a run means for the user.
	Workflows []*saga.Definition
	// Admit checks an order and reads the objects that the order names.
	Admit     workflows.Deps
	Repairs   Repairs
	Merchants merchants.Store
	Identity  func(cloud string) (keystone.Identity, error)
	Billing   Billing
	Audits    Audits
	Auditor   Auditor
	Meters    Meters
	Samples   Samples
	Usages    usage.Account
	Rebilling usage.Rebilling
	// Installation is the id of this installation. The API refuses the repair plans of other installations.
	Installation string
	Now          func() time.Time
	Random       io.Reader // source of random bytes for API keys, such as crypto/rand.Reader
	AdminRole    string    // the Keystone role that makes a user an operator

	// Admissions limits how many requests with a body are checked and accepted at the same time. Zero means 384. The number of requests that
	// wait for their runs is limited to four times Admissions. At this limit, the API answers a further request without waiting for its run.
	Admissions  int
	Heartbeat   time.Duration // interval between keep-alive comments in a stream of events; zero means 15 s
	MaxLiveRuns int           // limit of live runs for merchants without a limit in their settings

	Logins       *loginrate.Limits // limits logins and registrations; nil means the default limits
	ScopedTokens ScopedTokens
	KeystoneURL  string // address of Keystone for the header WWW-Authenticate; callers get tokens there
	TLS          bool   // the listener accepts TLS only
	// Backlog returns the work that is not finished, within limits.
	Backlog  func(context.Context, saga.BacklogLimits) (saga.Backlog, error)
	Circuits func() []Circuit // returns the circuits of the upstreams
	Replica  func() string    // returns the id of this replica, or an empty text if it has no lease
	Settings []Setting        // the settings in force; without secrets
	// Ready returns the states of the service's dependencies. Ready must return within some seconds.
	Ready   func(ctx context.Context) []Dependency
	Version string // version of this release
	Log     zerolog.Logger
}

// ScopedTokens passes the user's scoped token to the request that waits for the run. A step of this run has created the token. Each token
// is passed once and kept in memory only.
type ScopedTokens interface {
	// Await registers a request that will wait for a run. Call Await before the run starts. The function `take` returns the user's
	// scoped token. If the run has not created this token yet, `take` returns false. Call the function `stop` when the request no
	// longer waits.
	Await(runID string) (take func() (string, bool), stop func())
}

// The type `server` implements ServerInterface, which is generated from openapi.yaml.
type server struct {
	Options
	document *document
	docs     func() (*docs, error) // rendered at the first request
	reads    coalesce.Reads
	events   coalesce.Recent
	tokens   tokenCache // the tokens of operators

	bodies     shares // limits the bytes of request bodies
	admissions shares
	waiting    shares // limits the requests that wait for their runs

	validations shares // limits the validations of operators' tokens for each caller's address
	streams     shares
	answers     shares // limits the bytes of answers
	quotas      quotas
}

// API is the HTTP handler of the API. It also shows a run or an event in JSON, as the API does in its answers.
type API struct {
	http.Handler
	server *server
}

// View returns a run in JSON with its explanation, as a merchant's portal or an operator sees it.
func (a *API) View(run *saga.Run, portal bool) ([]byte, error) {
	w, to := caller{}, explain.ForOperator
	if portal {
		w.merchant, to = &merchants.Merchant{ID: run.Merchant}, explain.ForPortal
	}
	view := a.server.view(w, run)
	explanation := a.server.explainRun(to, run, view)
	view.Explanation = &explanation
	return json.Marshal(view)
}

// ViewEvent returns an event in JSON.
func (a *API) ViewEvent(e saga.Event) ([]byte, error) { return json.Marshal(viewEvent(e)) }

// New returns the API.
func New(o Options) (*API, error) {
	document, err := loadDocument(o.Version)
	if err != nil {
		return nil, fmt.Errorf("loading the OpenAPI document: %w", err)
	}
	admissions := cmp.Or(o.Admissions, defaultAdmissions)
	if o.Logins == nil {
		o.Logins = loginrate.New(0)
	}
	o.Heartbeat = cmp.Or(o.Heartbeat, heartbeat)
	s := &server{
		Options: o, document: document,
		bodies: sharesOf(maxBodies), admissions: sharesOf(admissions), waiting: sharesOf(admissions * waitingPerAdmission),
		validations: sharesOf(maxValidations), streams: sharesOf(maxStreams), answers: sharesOf(maxAnswers),
	}
	s.docs = sync.OnceValues(func() (*docs, error) { return newDocs(document) })
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect() // by default, Echo trusts any X-Forwarded-For header
	e.HTTPErrorHandler = s.refuse
	e.Use(s.identify, s.logAccess, recoverPanics)
	perOperation := map[string][]echo.MiddlewareFunc{}
	for id, operation := range document.operations {
		perOperation[id] = append(perOperation[id], s.authenticate(operation), checkParameters(operation), s.reserve(operation))
		if operation.RequestBody != nil {
			perOperation[id] = append(perOperation[id], s.admit(operation))
		}
	}
	RegisterHandlersWithOptions(withHead{e}, s, RegisterHandlersOptions{OperationMiddlewares: perOperation})
	return &API{e, s}, nil
}

// withHead is an Echo that also answers HEAD on each path that answers GET. The package net/http drops the body of the answer to
// HEAD.
type withHead struct{ *echo.Echo }

// GET registers the handler for GET and for HEAD.
func (e withHead) GET(path string, handler echo.HandlerFunc, with ...echo.MiddlewareFunc) *echo.Route {
	e.HEAD(path, handler, with...)
	return e.Echo.GET(path, handler, with...)
}

func (s *server) now() time.Time { return s.Now() }
