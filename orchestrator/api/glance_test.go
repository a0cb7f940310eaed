package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// The type `openstack` is the real Keystone and the real Glance of deploy/testservices/run, with the token of the user admin.
type openstack struct {
	t             *testing.T
	url, password string
	token, glance string
}

// The method `call` sends a request, and returns the header and the body of the answer.
func (o *openstack) call(method, url, token string, body any) (http.Header, map[string]any) {
	o.t.Helper()
	var text []byte
	if body != nil {
		var err error
		text, err = json.Marshal(body)
		must(o.t, err)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(text))
	must(o.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Auth-Token", token)
	resp, err := http.DefaultClient.Do(req)
	must(o.t, err)
	answer, err := io.ReadAll(resp.Body)
	must(o.t, err)
	must(o.t, resp.Body.Close())
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusConflict && method != http.MethodDelete {
		o.t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, answer)
	}
	decoded := map[string]any{}
	_ = json.Unmarshal(answer, &decoded)
	return resp.Header, decoded
}

// The method `login` logs in a user of the domain Default. The results are the token, and the body of Keystone's answer.
func (o *openstack) login(user, password string, scope any) (string, map[string]any) {
	o.t.Helper()
	header, answer := o.call("POST", o.url+"/auth/tokens", "", map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": user, "password": password, "domain": map[string]string{"id": "default"},
		}}},
		"scope": scope,
	}})
	return header.Get("X-Subject-Token"), answer
}

func startOpenStack(t *testing.T) *openstack {
	t.Helper()
	o := &openstack{t: t, url: os.Getenv("TENANTRY_TEST_KEYSTONE_URL"), password: os.Getenv("TENANTRY_TEST_KEYSTONE_PASSWORD")}
	if o.url == "" {
		t.Fatal("TENANTRY_TEST_KEYSTONE_URL is not set: run the tests with `make test`, which starts Keystone")
	}
	token, answer := o.login("admin", o.password, map[string]any{"project": map[string]any{"name": "admin", "domain": map[string]string{"id": "default"}}})
	o.token = token
	for _, entry := range answer["token"].(map[string]any)["catalog"].([]any) {
		if e := entry.(map[string]any); e["type"] == "image" {
			o.glance = e["endpoints"].([]any)[0].(map[string]any)["url"].(string)
		}
	}
	for _, role := range []string{"member", "bs-admin"} {
		o.call("POST", o.url+"/roles", o.token, map[string]any{"role": map[string]string{"name": role}})
	}
	t.Log("real: keystone")
	t.Log("real: glance")
	return o
}

// If a tenant of the real cloud has an image, the tenant is not removed, and the reason names the image. With `force`, an operator
// removes the tenant, and the run records the image.
func TestARealImageStopsTheRemoval(t *testing.T) {
	o := startOpenStack(t)
	name := "user-" + uuid.NewString()
	_, made := o.call("POST", o.url+"/users", o.token, map[string]any{"user": map[string]string{"name": name, "password": "pw", "domain_id": "default"}})
	user := made["user"].(map[string]any)["id"].(string)
	t.Cleanup(func() { o.call("DELETE", o.url+"/users/"+user, o.token, nil) })

	c := &calendar{}
	c.world = newWorldOf(t, "", changed(func(options *service.Options) {
		options.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
		options.Lease, options.Poll, options.Resources = 10_000*time.Hour, 50*time.Millisecond, nil
		options.KeepTenant, options.AdminRole = time.Millisecond, "admin"
		options.Cloud = func(string) (conn.Config, error) {
			return conn.Config{URL: o.url, Credential: conn.Credential{
				Username: "admin", Password: o.password, UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
			}}, nil
		}
	}))
	c.OperatorToken = o.token
	order := c.order("k")
	token, _ := o.login(name, "pw", "unscoped")
	order.header.Set("X-Subject-Token", token)
	subscribed := c.changes(order)
	s := sub{c.world, idOf(subscribed, "subscription_id"), idOf(subscribed, "subscription_tenant_id"), idOf(subscribed, "customer_id")}
	t.Cleanup(func() {
		for _, project := range []string{s.tenant, idOf(subscribed, "customer_tenant_id")} {
			o.call("DELETE", o.url+"/projects/"+project, o.token, nil)
		}
	})
	_, image := o.call("POST", o.glance+"/v2/images", o.token, map[string]any{
		"name": "precious", "owner": s.tenant, "visibility": "private", "os_hidden": true,
	})
	t.Cleanup(func() { o.call("DELETE", fmt.Sprint(o.glance, "/v2/images/", image["id"]), o.token, nil) })

	c.changes(c.change(s.id, "unsubscribe", "u"))
	c.step(11 * time.Minute)
	c.until("the removal ends", func() bool { return c.ended("remove") != nil })
	run := c.ended("remove")
	if run.State != saga.Compensated || run.Cause.Code != "tenant-not-empty" || !strings.Contains(run.Cause.Detail, `"precious"`) {
		t.Fatalf("the removal: %s %+v", run.State, run.Cause)
	}
	if _, answer := o.call("GET", o.url+"/projects/"+s.tenant, o.token, nil); answer["project"] == nil {
		t.Fatal("the tenant is gone")
	}

	force := c.asOperator(c.change(s.id, "remove", "forced"))
	force.body = `{"why": "the customer agrees", "force": true}`
	left := fmt.Sprint(c.changes(force).Result["left_behind"])
	if !strings.Contains(left, `"precious"`) {
		t.Errorf("the forced removal does not name the image: %s", left)
	}
	if _, answer := o.call("GET", o.url+"/projects?name=bs-subscription-"+s.id, o.token, nil); len(answer["projects"].([]any)) > 0 {
		t.Errorf("the tenant is still there: %v", answer)
	}
	if got := *s.seen().State; got != "ended" {
		t.Errorf("the subscription is %s", got)
	}
}
