package api

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/workflows"
)

// Options configures the API. All fields are required, except Admissions, ScopedTokens, Ready and KeystoneURL.
type Options struct {
	Runs    saga.Reader
	Starter saga.Starter
	Actions saga.Actions
	// Admit checks orders and resolves what they name.
	Admit     workflows.Deps
	Merchants merchants.Store
	Identity  func(cloud string) (keystone.Identity, error)
	Billing   Billing
	Now       func() time.Time
	Random    io.Reader // for API keys: crypto/rand.Reader
	AdminRole string    // the Keystone role that makes a user an operator

	// Admissions limits the orders that are checked and accepted at once; zero means 256. Four times as many requests may wait for
	// their runs. Further requests are answered without waiting.
	Admissions  int
	MaxLiveRuns int // maximum of live runs per merchant; a merchant may have its own

	ScopedTokens ScopedTokens
	KeystoneURL  string // where callers get tokens; shown in WWW-Authenticate
	TLS          bool   // the listener accepts TLS only
	Ready        []Check
	Version      string // of this release
	Log          zerolog.Logger
}

// ScopedTokens passes the token that a run's step scoped to the request that waits for the run, once and in memory only.
type ScopedTokens interface {
	// Await announces, before the run starts, that its request waits in this process. take returns the token if it has arrived.
	// stop must be called when the request no longer waits.
	Await(runID string) (take func() (string, bool), stop func())
}

// Check tests whether something that the service needs is available.
type Check struct {
	Name string
	Ask  func(ctx context.Context) error
}

// server implements the generated interface.
type server struct {
	Options
	document *document
	docs     func() (*docs, error) // rendered when they are first requested
	reads    coalesce.Reads
	tokens   tokenCache // of operators

	admissions, waiting places
	quotas              quotas
}

// New returns the handler of the whole API.
func New(o Options) (http.Handler, error) {
	document, err := loadDocument(o.Version)
	if err != nil {
		return nil, fmt.Errorf("loading the OpenAPI document: %w", err)
	}
	admissions := cmp.Or(o.Admissions, defaultAdmissions)
	s := &server{
		Options: o, document: document,
		admissions: make(places, admissions), waiting: make(places, admissions*waitingPerAdmission),
	}
	s.docs = sync.OnceValues(func() (*docs, error) { return newDocs(document) })
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect() // Echo's default trusts any X-Forwarded-For
	e.HTTPErrorHandler = s.refuse
	e.Use(s.identify, s.logAccess, recoverPanics)
	perOperation := map[string][]echo.MiddlewareFunc{}
	for id, operation := range document.operations {
		if operation.takesOrders() {
			perOperation[id] = append(perOperation[id], s.boundAdmission)
		}
		perOperation[id] = append(perOperation[id], s.authenticate(operation), checkParameters(operation))
	}
	RegisterHandlersWithOptions(e, s, RegisterHandlersOptions{OperationMiddlewares: perOperation})
	return e, nil
}

func (s *server) now() time.Time { return s.Now() }
