package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// maxAnswer is the maximum size of an answer of the API in bytes.
const maxAnswer = 8 << 20

// errUnchanged means that an object still has the ETag that the request named.
var errUnchanged = errors.New("unchanged")

// The function `read` reads the answer to a call of the API. The parameters are the results of a method of the client. The error is errUnchanged or
// a *refused.
func read[T any](response *http.Response, err error) (answer T, header http.Header, _ error) {
	if err != nil {
		return answer, nil, noAnswer(err)
	}
	defer func() { _ = response.Body.Close() }() // the answer has been read
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return answer, nil, noAnswer(err)
	case response.StatusCode == http.StatusNotModified:
		return answer, response.Header, errUnchanged
	case response.StatusCode > http.StatusAccepted:
		return answer, nil, refusal(response, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, nil, noAnswer(err)
	}
	return answer, response.Header, nil
}

// readAll reads the pages of a list, up to the given number of objects. The function `call` calls the API for the page after the object with the id `marker`; nil means the first page.
func readAll[T any](most int, call func(marker *string) (page []T, links client.Links, err error), id func(T) string) (all []T, err error) {
	var marker *string
	for {
		page, links, err := call(marker)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) == 0 || len(all) >= most || !hasNext(links) {
			return all[:min(len(all), most)], nil
		}
		marker = new(id(page[len(page)-1]))
	}
}

// pageSize is the number of objects in a page of a list.
const pageSize = 50

func hasNext(links client.Links) bool {
	for _, l := range links {
		if l.Rel == "next" {
			return true
		}
	}
	return false
}

// The function `accepted` returns the id of the run that an answer of the API is about. The problem of a run that has failed before the API answered names
// this run, too.
func accepted(response *http.Response, err error) (id string, _ error) {
	run, _, err := read[client.Run](response, err)
	if err == nil {
		return run.ID, nil
	}
	if answer, ok := asRefusal(err); ok && answer.kind() == "run-compensated" {
		if n, err := fmt.Sscanf(value(answer.Instance), "/v1/runs/%36s", &id); n == 1 && err == nil && isUUID(id) {
			return id, nil
		}
	}
	return "", err
}
