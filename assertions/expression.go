package assertions

import (
	"fmt"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// CheckExpression compiles an expression that stands in no file and evaluates it over a window. An error is a mistake in one
// of the two texts, and shows the place; an empty on selects everything.
func CheckExpression(on, expect string, in Input) (traffic.CheckResult, error) {
	c := &check{spec: Check{Name: "expression", On: on, Expect: expect, Severity: SeverityError, Confidence: DefaultConfidence}}
	var err error
	if c.on, err = filter.Compile(on); err != nil {
		return traffic.CheckResult{}, fmt.Errorf("on: %w", err)
	}
	if c.expect, err = compileExpectation(expect); err != nil {
		return traffic.CheckResult{}, fmt.Errorf("expect: %w", err)
	}
	c.complete()
	if err := c.mismatch(); err != nil {
		return traffic.CheckResult{}, fmt.Errorf("expect: %w", err)
	}
	return c.judge(newWorld(in))[0], nil
}
