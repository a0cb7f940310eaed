package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
)

// memoryKeystone is the argument with which bench starts itself as a process that serves the in-memory Keystone.
const memoryKeystone = "keystone"

// memoryCloud starts a child process that serves an in-memory Keystone.
func memoryCloud(ctx context.Context) (*cloud, error) {
	process, err := startChild(ctx, site{}, memoryKeystone)
	if err != nil {
		return nil, err
	}
	url, err := process.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, process.stop())
	}
	c := &cloud{url: strings.TrimSpace(url) + "/v3", password: adminPassword, pid: process.cmd.Process.Pid, stop: process.stop}
	c.fill = c.fillMemory
	return c, c.login(ctx)
}

// The type `filling` is a request to the child process to fill its Keystone.
type filling struct {
	Like   ids
	Copies []ids
}

// The method `fill` adds the copies, and stores the ids that the Keystone has chosen.
func (f *filling) fill(ks *keystonetest.Keystone) {
	of, roles := map[string]keystone.Project{}, map[string][]string{}
	for _, p := range ks.Projects() {
		of[p.ID] = p
	}
	for _, a := range ks.Assignments() {
		roles[a.ProjectID] = append(roles[a.ProjectID], a.RoleID)
	}
	for i := range f.Copies {
		n := &f.Copies[i]
		n.User = ks.AddUser(keystonetest.User{Name: "user " + n.Run})
		in := strings.NewReplacer(f.Like.Customer, n.Customer, f.Like.Subscription, n.Subscription, f.Like.Run, n.Run)
		for tenant, id := range map[string]*string{f.Like.CustomerTenant: &n.CustomerTenant, f.Like.SubscriptionTenant: &n.SubscriptionTenant} {
			tags := []string{}
			for _, tag := range of[tenant].Tags {
				tags = append(tags, in.Replace(tag))
			}
			*id = ks.AddProject(keystone.Project{Name: in.Replace(of[tenant].Name), DomainID: of[tenant].DomainID, Tags: tags})
			for _, role := range roles[tenant] {
				ks.Assign(keystone.Assignment{UserID: n.User, ProjectID: *id, RoleID: role})
			}
		}
	}
}

func (c *cloud) fillMemory(ctx context.Context, like ids, all []ids) error {
	told, err := json.Marshal(filling{like, all})
	if err != nil {
		return err
	}
	var made []ids
	if _, err := call(ctx, http.MethodPost, strings.TrimSuffix(c.url, "/v3")+"/bench/fill", "", string(told), &made); err != nil {
		return err
	}
	if len(made) != len(all) {
		return fmt.Errorf("%d copies were made, wanted %d", len(made), len(all))
	}
	copy(all, made)
	return nil
}

// serveKeystone prints the address of an in-memory Keystone, and serves until its standard input is closed.
func serveKeystone() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the call cannot block
	if err != nil {
		return err
	}
	ks := keystonetest.New(keystonetest.Options{AdminPassword: adminPassword, TokenLifetime: 24 * time.Hour})
	mux := http.NewServeMux()
	mux.Handle("/v3/", ks)
	mux.HandleFunc("POST /bench/fill", func(w http.ResponseWriter, r *http.Request) {
		var told filling
		if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		told.fill(ks)
		_ = json.NewEncoder(w).Encode(told.Copies) //nolint:errcheck // the caller has gone
	})
	server := http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- errors.Join(err, server.Close())
	}()
	if _, err := fmt.Fprintf(os.Stdout, "http://%s\n", listener.Addr()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}
