package api_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
)

// The type `world` is the service under test, with an in-memory Keystone and an embedded BillingStack.
type world struct {
	*servicetest.Installation
	t         *testing.T
	database  string // its URL
	steps     *standIn
	document  *contract
	upstreams counted
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, storetest.PostgreSQL(t)) })
}

// newWorld returns a world with an SQLite database and the short workflow standIn.
func newWorld(t *testing.T, change ...func(*servicetest.Options)) *world {
	t.Helper()
	return newWorldOn(t, storetest.SQLite(t), change...)
}

func newWorldOn(t *testing.T, database string, change ...func(*servicetest.Options)) *world {
	t.Helper()
	steps := &standIn{token: make(chan string, 1)}
	w := newWorldOf(t, database, append([]func(*servicetest.Options){func(o *servicetest.Options) {
		o.Workflows = func(d workflows.Deps) ([]*saga.Definition, error) {
			steps.billing = d.Billing
			workflow, err := saga.Define(steps.workflow())
			return []*saga.Definition{workflow}, err
		}
		o.Change = func(o *service.Options) { o.ScopedTokens = steps }
	}}, change...)...)
	w.steps = steps
	t.Cleanup(steps.open) // the service cannot stop while a step waits
	return w
}

// newWorldOf returns a world that runs the real workflows. If `database` is empty, the world has a new SQLite database.
func newWorldOf(t *testing.T, database string, change ...func(*servicetest.Options)) *world {
	t.Helper()
	if database == "" {
		database = storetest.SQLite(t)
	}
	w := &world{t: t, database: database}
	o := servicetest.Options{Database: database, Around: w.upstreams.around}
	for _, c := range change {
		c(&o)
	}
	w.Installation = servicetest.New(t, o)
	w.document = readContract(t, w.Service.Handler)
	return w
}

// The function `changed` returns an option that makes newWorld change the options of the service.
func changed(change func(*service.Options)) func(*servicetest.Options) {
	return func(o *servicetest.Options) {
		before := o.Change
		o.Change = func(o *service.Options) {
			if before != nil {
				before(o)
			}
			change(o)
		}
	}
}

// The method `runs` returns the number of accepted runs.
func (w *world) runs() int {
	w.t.Helper()
	all, err := w.Store.Runs(w.t.Context(), saga.Filter{Limit: 1000})
	must(w.t, err)
	return len(all)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
