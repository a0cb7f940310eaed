package main

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/orchestrator/doctor"
)

// firstStartTime is the time limit of the checks at the first start of a server. The checks do not delay the start.
const firstStartTime = 30 * time.Second

// logDoctor logs in at most three lines what `tenantry doctor` would print: the numbers of faults and warnings, the first fault, and its fix. If
// there are no faults, the first warning is not logged, because a good set-up can have warnings.
func (p *program) logDoctor(ctx context.Context, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, firstStartTime)
	defer cancel()
	all := doctor.Examine(ctx, p.setUp())
	if ctx.Err() != nil {
		return // the server is stopping, or the checks are incomplete
	}
	fails, warns := doctor.Count(all, doctor.Fail), doctor.Count(all, doctor.Warn)
	line := log.Info()
	if fails > 0 {
		line = log.Warn()
	}
	line.Int("fail", fails).Int("warn", warns).Msgf(`doctor: faults of the set-up: %d, warnings: %d; "tenantry doctor" prints how to mend them`, fails, warns)
	for _, line := range all {
		if line.Status == doctor.Fail {
			log.Warn().Str("check", line.Check).Msgf("doctor: %s: %s", line.Check, line.Text)
			log.Warn().Str("check", line.Check).Msgf("doctor: %s: %s", fixWords[line.Fix.Kind], line.Fix.Text)
			return
		}
	}
}
