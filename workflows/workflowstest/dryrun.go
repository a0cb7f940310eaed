package workflowstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// DryRunDiffers returns the differences between the dry run d and the later run r of the same request. The run r must be at rest. The
// argument `before` contains the objects that existed before the dry run and the run. The ids of these objects must be equal in the dry
// run and in the run. All other ids may differ.
func DryRunDiffers(d saga.DryRun, r *saga.Run, before Outside) (all []string) {
	c := comparison{d: d, r: r, known: before.ids()}
	if at := r.State; at != d.State && (at != saga.Waiting || !r.AtRest() || d.State != saga.Waiting) {
		c.differ("the run is %s, and the dry run said %s", at, d.State)
	}
	if len(d.Steps) != len(r.Steps) {
		c.differ("the run has %d steps, and the dry run %d", len(r.Steps), len(d.Steps))
		return c.all
	}
	for i, s := range d.Steps {
		if row := r.Steps[i]; row.Name != s.Name || !slices.Equal(row.After, s.After) || row.Optional != s.Optional {
			c.differ("step %d is %s after %v, and in the dry run %s after %v", i, row.Name, row.After, s.Name, s.After)
			continue
		}
		c.step(s, &r.Steps[i])
	}
	return c.all
}

type comparison struct {
	d     saga.DryRun
	r     *saga.Run
	known map[string]bool
	all   []string
}

func (c *comparison) differ(text string, args ...any) {
	c.all = append(c.all, fmt.Sprintf(text, args...))
}

// The map `passes` contains the dry-run outcomes of steps that succeed. The value is Own if the run owns the object of such a step.
// Otherwise, the value is Adopted.
var passes = map[saga.DryOutcome]saga.Origin{
	saga.WouldCreate: saga.Own, saga.WouldAdopt: saga.Adopted, saga.WouldChange: saga.Adopted, saga.WouldRemove: saga.Adopted,
	saga.NothingToDo: saga.Adopted, saga.OnlyReads: saga.Adopted, saga.AlreadyThere: saga.Own,
}

// The method `step` compares the step s of the dry run with the run's step.
func (c *comparison) step(s saga.DryStep, row *saga.StepRow) {
	succeeded := row.State == saga.StepSucceeded || row.State == saga.StepUndone && row.EndedAt != nil && row.Error == nil
	switch origin, passes := passes[s.Outcome]; {
	case s.Outcome == saga.Undecided:
	case s.Outcome == saga.NotReached:
		if row.Begun() {
			c.differ("step %s was begun, and the dry run said %s", s.Name, s.Outcome)
		}
	case s.Outcome == saga.WouldSkip:
		if row.State != saga.StepSkipped {
			c.differ("step %s is %s, and the dry run said %s", s.Name, row.State, s.Outcome)
		}
	case s.Outcome == saga.InConflict:
		failed := row.Error
		if c.r.Cause != nil && c.r.Cause.Step == s.Name { // the undo has cleared the error of the step
			failed = c.r.Cause
		}
		if failed == nil || s.Failure == nil || failed.Code != s.Failure.Code || failed.FixBy != s.Failure.FixBy ||
			c.text(failed.Detail) != c.text(s.Failure.Detail) {
			c.differ("step %s is %s with %+v, and the dry run said %s with %+v", s.Name, row.State, failed, s.Outcome, s.Failure)
		}
	case !passes:
		c.differ("step %s has an outcome that no test knows: %q", s.Name, s.Outcome)
	case !succeeded && !row.Begun() && c.d.State != saga.Succeeded: // a conflict of another step may have stopped the run earlier
	case !succeeded:
		c.differ("step %s is %s with %+v, and the dry run said %s", s.Name, row.State, row.Error, s.Outcome)
	default:
		c.objects(s, origin)
	}
	static := strings.HasPrefix(s.Undo, "none: ") || strings.HasPrefix(s.Undo, "pivot: ")
	removed := slices.ContainsFunc(c.r.Objects, func(o saga.Object) bool {
		return o.Step == s.Name && o.Origin == saga.Own && o.RemovedAt != nil
	})
	if static && removed {
		c.differ("the objects of step %s were removed, and the dry run said that its undo is %q", s.Name, s.Undo)
	}
}

// The method `objects` compares the objects of a step that has succeeded. A run stores an object under the first step that records the
// object. A dry run omits an object if the id of the object contains an id that an upstream will choose.
func (c *comparison) objects(s saga.DryStep, origin saga.Origin) {
	var recorded, own, all []string
	for _, o := range c.r.Objects {
		what := o.Kind + " " + c.text(o.ID)
		all = append(all, what)
		if o.Step == s.Name {
			recorded = append(recorded, what)
		}
		if o.Step == s.Name && o.Origin == saga.Own {
			own = append(own, what)
		}
	}
	if origin == saga.Own && len(own) == 0 && len(recorded) > 0 || origin != saga.Own && len(own) > 0 {
		c.differ("step %s has recorded %q, of which %q are its own, and the dry run said %s", s.Name, recorded, own, s.Outcome)
	}
	for _, o := range s.Objects {
		if o.ID == "" {
			o.ID = fresh
		}
		if what := o.Kind + " " + c.text(o.ID); !slices.Contains(all, what) || origin == saga.Own && !slices.Contains(own, what) {
			c.differ("step %s has recorded %q, of which %q are its own, and the dry run named %s (%s)", s.Name, recorded, own, what, o.Name)
		}
	}
}

// The constant `fresh` stands for the ids of objects that the run creates.
const fresh = "NEW"

var idForm = regexp.MustCompile(`[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}`)

// The method `text` keeps the ids of objects that existed before the dry run, and replaces all other ids with `fresh`.
func (c *comparison) text(text string) string {
	return idForm.ReplaceAllStringFunc(text, func(id string) string {
		if c.known[id] {
			return id
		}
		return fresh
	})
}

// The method `ids` returns the ids of the objects, and of the users and roles of the role assignments.
func (o Outside) ids() map[string]bool {
	all := map[string]bool{}
	for _, p := range o.Projects {
		all[p.ID] = true
	}
	for _, u := range o.Users {
		all[u.ID] = true
	}
	for _, a := range o.Assignments {
		all[a.UserID], all[a.RoleID] = true, true
	}
	for _, c := range o.Customers {
		all[c.ID], all[c.MerchantID] = true, true
	}
	for _, s := range o.Subscriptions {
		all[s.ID], all[s.PlanID] = true, true
	}
	return all
}
