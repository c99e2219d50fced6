//go:build !linux

package columns

// willNeed does nothing: there is no call for it.
func (s *source) willNeed(span) {}
