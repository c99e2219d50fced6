package query

import "fmt"

// Error is a mistake in a question; Hint says what to ask instead.
type Error struct {
	What    string
	Hint    string
	Missing bool // of something that was named and is not there
}

// Error is the sentence without the hint.
func (e *Error) Error() string { return e.What }

// missing makes an [Error] about something that is not there.
func missing(hint, format string, args ...any) error {
	return &Error{What: fmt.Sprintf(format, args...), Hint: hint, Missing: true}
}

// mistake makes an [Error].
func mistake(hint, format string, args ...any) error {
	return &Error{What: fmt.Sprintf(format, args...), Hint: hint}
}
