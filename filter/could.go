package filter

import (
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/traffic"
)

func (f *Filter) selects() Kind { return Both }

type ends struct{}

func (*ends) value(f *Field) ref.Val { return f.unknown }

// Could reports whether any row between these ends could match.
func (f *Filter) Could(src, dst *traffic.Endpoint, proto string) bool { return true }

// MayBe reports whether a row of that L7 protocol could match.
func (f *Filter) MayBe(l7 string) bool { return true }
