package filter

// ErrorAt places a message of whoever builds on a translation, such as a check's expectation, at a code point of its Text.
func (t *Translation) ErrorAt(offset int, msg, hint string) *Error {
	return newError(t.Source, t.base, t.at(offset), msg, hint)
}
