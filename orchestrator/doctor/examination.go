package doctor

import (
	"errors"
	"strings"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/store"
)

// The type `examination` contains what the checks have found so far.
type examination struct {
	Options

	store  *store.Store // nil if there is no database, or if it cannot be opened
	schema store.Schema // the version is zero if there are no tables

	cloud    keystone.Cloud // the default cloud
	config   conn.Config    // of the default cloud
	keystone recorder       // of the default cloud
	scopes   []keystone.Project
	holder   keystone.Holder

	billing   *billing.Client // nil if BillingStack is embedded
	ofBilling recorder
	serves    bool // a Tenantry server listens on Config.Listen
}

func (x *examination) close() {
	if x.store != nil {
		_ = x.store.Close() // nothing was written
	}
}

// sqliteFile returns the path of the SQLite file. If the database is PostgreSQL, the result is empty.
func (x *examination) sqliteFile() string {
	path, isFile := strings.CutPrefix(x.DatabaseURL, "sqlite:")
	if !isFile {
		return ""
	}
	return path
}

// The function `split` returns the errors that were joined in err.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, one := range joined.Unwrap() {
			all = append(all, split(one)...)
		}
		var texts []string
		for _, one := range all {
			texts = append(texts, one.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return all
		}
	}
	return []error{err}
}

// The function `is` reports whether err is one of the errors.
func is(err error, some ...error) bool {
	for _, one := range some {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// oneLine returns the text of an error that joins several faults.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
