package service

import (
	"cmp"
	"fmt"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// The type `inventories` holds the Keystone clients of audits, one client per cloud. Each client is built when it is first used. A
// client cannot write, because its guard refuses all writes to projects.
type inventories struct {
	clouds *cloudClients
	entry  string // the cloud whose credential is used for the default cloud; empty: the default cloud itself

	mu    sync.Mutex
	known map[string]keystone.Inventory
}

// The method `of` returns the client of a cloud. After an error, the next call tries again.
func (i *inventories) of(cloud string) (keystone.Inventory, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if known := i.known[cloud]; known != nil {
		return known, nil
	}
	entry := cloud
	if cloud == merchants.DefaultCloud {
		entry = cmp.Or(i.entry, cloud)
	}
	cfg, err := i.clouds.configOf(cloud, entry, "audits")
	if err != nil {
		return nil, err
	}
	made, err := clouds.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("setting up cloud %q: %w", entry, err)
	}
	if i.known == nil {
		i.known = map[string]keystone.Inventory{}
	}
	i.known[cloud] = made
	return made, nil
}
