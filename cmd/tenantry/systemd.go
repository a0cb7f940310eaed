package main

import (
	"context"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// tellSystemd sends a state to systemd. If systemd has not started the process as a service with Type=notify, tellSystemd does
// nothing.
func tellSystemd(log zerolog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn().Err(err).Str("state", state).Msg("telling systemd the state of the service")
	}
}

// startWatchdog tells systemd that the process is healthy, until the returned function is called. If systemd does not expect this,
// startWatchdog does nothing. See keepWatchdog for the parameter healthy.
func startWatchdog(log zerolog.Logger, healthy func(context.Context) error) (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn().Err(err).Msg("reading the watchdog's interval from systemd's variables")
	}
	if interval <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var kept sync.WaitGroup
	kept.Go(func() { keepWatchdog(ctx, interval, healthy, log) })
	return func() { cancel(); kept.Wait() }
}

// keepWatchdog tells systemd that the process is healthy, twice in each interval, until ctx ends. The process is healthy if healthy
// returns no error within a quarter of the interval. systemd kills a process that was not healthy for a whole interval.
func keepWatchdog(ctx context.Context, interval time.Duration, healthy func(context.Context) error, log zerolog.Logger) {
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, interval/4)
		err := healthy(bounded)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Error().Err(err).Msg("the service does not answer its own health check; systemd kills the service if this continues")
		default:
			tellSystemd(log, daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
