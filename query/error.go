package query

import "fmt"

// Error is a mistake in a question; Hint says what to ask instead.
type Error struct {
	What string
	Hint string
}

// Error is the sentence without the hint.
func (e *Error) Error() string { return e.What }

// mistake makes an [Error].
func mistake(hint, format string, args ...any) error {
	return &Error{What: fmt.Sprintf(format, args...), Hint: hint}
}
