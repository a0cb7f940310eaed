package stories_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
)

// The type `upstream` is a proxy for Keystone or BillingStack. The proxy calls the function `before` with each request. If the
// function `around` is set, it answers each request, and may pass the request on to `next`.
type upstream struct {
	next   http.Handler
	before func(*http.Request)
	around func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	again := func() *http.Request { r.Body = io.NopCloser(bytes.NewReader(body)); return r }
	if u.before != nil {
		u.before(again())
	}
	if r.Context().Err() != nil {
		return
	}
	answer := httptest.NewRecorder()
	if u.around != nil {
		u.around(answer, again(), u.next)
	} else {
		u.next.ServeHTTP(answer, again())
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// refuseEvery makes BillingStack refuse the request that attaches a tenant, for every nth subscription. A repeated request for the
// same subscription is refused again.
func refuseEvery(n int) func(*httptest.ResponseRecorder, *http.Request, http.Handler) {
	var mu sync.Mutex
	refused := map[string]bool{}
	return func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPatch {
			mu.Lock()
			refuse, known := refused[r.URL.Path]
			if !known {
				refuse = (len(refused)+1)%n == 0
				refused[r.URL.Path] = refuse
			}
			mu.Unlock()
			if refuse {
				http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
				return
			}
		}
		next.ServeHTTP(w, r)
	}
}
